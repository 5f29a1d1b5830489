"""The dialects of the presets, on answers of the shapes that these providers document (B12, B13).

Each test takes the preset as it is in the catalog: its endpoints, its auth method, its quirks.
"""

import base64
import json
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import responses

from providers import oauth2, presets
from providers.models import OAuthProvider
from providers.registered import client_with

pytestmark = pytest.mark.threat("B12")
VERIFIER = "v" * 64


@pytest.fixture
def far_side():
    """Answers in place of the network; every one that is queued must be fetched."""
    with responses.RequestsMock() as mocked:
        yield mocked


def client_of(name, **overrides):
    preset = presets.get(name)
    fields = {**presets.fields(preset, preset.examples), **overrides}
    provider = OAuthProvider(name=name, preset=name, client_id="the-id", client_secret_ref="SECRET", **fields)
    return client_with(provider, "the-secret")


def exchange(client, asked=()):
    return oauth2.exchange_code(client, code="the-code", code_verifier=VERIFIER, asked=asked)


def refresh(client, asked=()):
    return oauth2.refresh(client, refresh_token="old-refresh", asked=asked)


def authorize(client, scopes):
    url = oauth2.authorize_url(client, state="s", scopes=scopes, code_verifier=oauth2.code_verifier_for(client))
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


def form(call):
    return dict(parse_qsl(call.request.body.decode()))


def refused(call, client):
    with pytest.raises(oauth2.ProviderRefused) as caught:
        call(client)
    return caught.value


# --- Slack ------------------------------------------------------------------------------------------

SLACK = {
    "ok": True,
    "app_id": "A1",
    "authed_user": {
        "id": "U1",
        "scope": "channels:read,users:read",
        "access_token": "xoxe.xoxp-1",
        "token_type": "user",
        "expires_in": 43200,
        "refresh_token": "xoxe-1",
    },
    "team": {"id": "T1", "name": "Acme"},
    "enterprise": None,
    "is_enterprise_install": False,
}


def test_slack_asks_for_user_scopes_with_commas_and_without_pkce():
    query = authorize(client_of("slack"), ["channels:read", "users:read"])
    assert query["user_scope"] == "channels:read,users:read"
    assert not {"scope", "code_challenge", "code_challenge_method"} & set(query)


def test_slack_nests_the_users_token(far_side):
    client = client_of("slack")
    far_side.post(client.token_endpoint, json=SLACK)
    answer = exchange(client)
    assert (answer.access_token, answer.refresh_token, answer.expires_in) == ("xoxe.xoxp-1", "xoxe-1", 43200)
    assert answer.scopes == ["channels:read", "users:read"]
    assert far_side.calls[0].request.headers["Authorization"].startswith("Basic ")


def test_slack_puts_a_refreshed_token_at_the_top_and_a_bot_token_is_never_the_users(far_side):
    client = client_of("slack")
    top = {"ok": True, "access_token": "xoxe.xoxp-2", "refresh_token": "xoxe-2", "expires_in": 43200}
    far_side.post(client.token_endpoint, json={**top, "token_type": "user", "scope": "users:read"})
    far_side.post(client.token_endpoint, json={**top, "token_type": "bot", "authed_user": {"id": "U1"}})
    assert refresh(client).access_token == "xoxe.xoxp-2"
    with pytest.raises(oauth2.BadAnswer) as caught:
        refresh(client)
    assert caught.value.why == "token_type"


def test_slack_also_gives_tokens_that_do_not_expire(far_side):
    client = client_of("slack-user")
    user = {name: SLACK["authed_user"][name] for name in ("id", "scope", "access_token", "token_type")}
    far_side.post(client.token_endpoint, json={**SLACK, "authed_user": user})
    answer = exchange(client)
    assert (answer.access_token, answer.refresh_token, answer.expires_in) == ("xoxe.xoxp-1", None, None)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("invalid_code", "invalid_grant"),
        ("code_already_used", "invalid_grant"),
        ("invalid_refresh_token", "invalid_grant"),
        ("token_revoked", "invalid_grant"),
        ("bad_client_secret", "invalid_client"),
        ("invalid_client_id", "invalid_client"),
        ("bad_redirect_uri", "redirect_uri_mismatch"),
        ("team_access_not_granted", "team_access_not_granted"),
    ],
)
def test_slack_says_no_with_a_200(far_side, said, meant):
    client = client_of("slack")
    far_side.post(client.token_endpoint, json={"ok": False, "error": said})
    refusal = refused(exchange, client)
    assert (refusal.error, refusal.standard_error) == (said, meant)
    assert refusal.is_terminal == (meant == "invalid_grant")


@pytest.mark.parametrize("body", [{"ok": False}, {"ok": "true", **SLACK["authed_user"]}, SLACK["authed_user"]])
def test_slack_without_ok_is_a_refusal_even_with_a_token(far_side, body):
    client = client_of("slack")
    far_side.post(client.token_endpoint, json={**body, "ok": body.get("ok") if body.get("ok") is not True else None})
    assert refused(exchange, client).error == "unrecognised"


@pytest.mark.parametrize("error", ["internal_error", "fatal_error", "service_unavailable", "ratelimited"])
def test_slack_in_trouble_ends_nothing(far_side, error):
    client = client_of("slack")
    far_side.post(client.token_endpoint, json={"ok": False, "error": error})
    with pytest.raises(oauth2.ProviderUnavailable):
        refresh(client)


# --- GitHub -----------------------------------------------------------------------------------------


@pytest.mark.threat("B13")
def test_github_gives_json_when_asked_and_a_token_that_does_not_expire(far_side):
    client = client_of("github")
    body = {"access_token": "gho_1", "scope": "repo,gist", "token_type": "bearer"}
    far_side.post(client.token_endpoint, json=body)
    answer = exchange(client)
    assert far_side.calls[0].request.headers["Accept"] == "application/json"
    assert (answer.access_token, answer.refresh_token, answer.expires_in) == ("gho_1", None, None)
    assert answer.scopes == ["repo", "gist"]


def test_github_gives_a_form_otherwise_and_empty_scopes_say_nothing(far_side):
    client = client_of("github-enterprise-server")
    body = "access_token=ghu_1&expires_in=28800&refresh_token=ghr_1&refresh_token_expires_in=15897600&scope="
    far_side.post(client.token_endpoint, body=f"{body}&token_type=bearer")
    answer = exchange(client)
    assert (answer.expires_in, answer.refresh_token_expires_in, answer.scopes) == (28800, 15897600, None)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("bad_verification_code", "invalid_grant"),
        ("bad_refresh_token", "invalid_grant"),
        ("incorrect_client_credentials", "invalid_client"),
        ("redirect_uri_mismatch", "redirect_uri_mismatch"),
    ],
)
def test_github_says_no_with_a_200(far_side, said, meant):
    client = client_of("github")
    far_side.post(client.token_endpoint, json={"error": said, "error_description": "The code passed is incorrect."})
    refusal = refused(exchange, client)
    assert (refusal.error, refusal.standard_error) == (said, meant)


def test_github_names_the_widest_scopes_only(far_side):
    client = client_of("github")
    far_side.post(client.token_endpoint, json={"access_token": "gho_1", "scope": "user,admin:org"})
    answer = exchange(client, asked=["admin:org", "read:org", "read:user", "repo", "user"])
    assert answer.scopes == ["admin:org", "read:org", "read:user", "user"]


# --- Google -----------------------------------------------------------------------------------------


def test_google_is_asked_for_offline_access_and_consent():
    query = authorize(client_of("google"), ["openid", "email"])
    assert (query["access_type"], query["prompt"]) == ("offline", "consent")
    assert query["code_challenge_method"] == "S256"


def test_google_echoes_long_names_and_gives_a_refresh_token_sometimes(far_side):
    client = client_of("google")
    long = "https://www.googleapis.com/auth/userinfo"
    scope = f"openid {long}.email {long}.profile https://www.googleapis.com/auth/drive.readonly"
    far_side.post(client.token_endpoint, json={"access_token": "ya29.1", "expires_in": 3599, "scope": scope})
    answer = exchange(client, asked=["email", "openid", "profile"])
    assert answer.refresh_token is None
    assert answer.scopes == ["email", "openid", "profile", "https://www.googleapis.com/auth/drive.readonly"]


def test_google_refuses_to_revoke_a_dead_token_with_a_400(far_side):
    client = client_of("google")
    far_side.post(client.revocation_endpoint, status=400, json={"error": "invalid_token"})
    assert oauth2.revoke(client, token="dead", token_type_hint="refresh_token") == oauth2.Revoked.REVOKED


# --- Microsoft --------------------------------------------------------------------------------------


def test_microsoft_has_tenants_in_its_addresses():
    client = client_of("microsoft-entra-id")
    tenant = presets.get("microsoft-entra-id").examples["tenant"]
    assert client.token_endpoint == f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"


def test_microsoft_echoes_prefixed_scopes_and_not_offline_access(far_side):
    client = client_of("microsoft-entra-id")
    scope = "https://graph.microsoft.com/User.Read https://graph.microsoft.com/Mail.Read profile openid email"
    tokens = {"token_type": "Bearer", "access_token": "ey1", "refresh_token": "0.A", "expires_in": 4000}
    far_side.post(client.token_endpoint, json={**tokens, "ext_expires_in": 4000, "scope": scope})
    asked = ["Mail.Read", "User.Read", "email", "offline_access", "openid", "profile"]
    assert exchange(client, asked=asked).scopes == asked


def test_microsoft_wants_the_user_again(far_side):
    client = client_of("microsoft-entra-id")
    body = {"error": "interaction_required", "error_description": "AADSTS50079", "error_codes": [50079]}
    far_side.post(client.token_endpoint, status=400, json=body)
    assert refused(refresh, client).is_terminal


# --- Atlassian --------------------------------------------------------------------------------------


def test_atlassian_is_asked_for_its_audience():
    query = authorize(client_of("atlassian"), ["read:jira-work", "offline_access"])
    assert (query["audience"], query["prompt"]) == ("api.atlassian.com", "consent")


@pytest.mark.parametrize(
    ("error", "description", "is_terminal"),
    [
        ("invalid_grant", "Unknown or invalid refresh token.", True),
        ("unauthorized_client", "refresh_token is invalid", True),
        ("unauthorized_client", "client is not allowed", False),
    ],
)
def test_atlassian_says_in_words_that_a_refresh_token_is_dead(far_side, error, description, is_terminal):
    client = client_of("atlassian")
    far_side.post(client.token_endpoint, status=403, json={"error": error, "error_description": description})
    assert refused(refresh, client).is_terminal == is_terminal


# --- Salesforce -------------------------------------------------------------------------------------


@pytest.mark.threat("B13")
def test_salesforce_tells_no_lifetime_and_more_than_was_asked(far_side):
    client = client_of("salesforce")
    body = {
        "access_token": "00D1!AQ",
        "refresh_token": "5Aep",
        "signature": "x=",
        "scope": "refresh_token api id",
        "instance_url": "https://acme.my.salesforce.com",
        "id": "https://login.salesforce.com/id/00D1/0051",
        "token_type": "Bearer",
        "issued_at": "1788000000000",
    }
    far_side.post(client.token_endpoint, json=body)
    answer = exchange(client, asked=["api", "offline_access"])
    assert (answer.access_token, answer.expires_in) == ("00D1!AQ", None)
    assert answer.scopes == ["api", "offline_access", "id"]


# --- Notion and others who want JSON ----------------------------------------------------------------


@pytest.mark.threat("B13")
def test_notion_takes_json_with_basic_and_knows_no_scopes(far_side):
    client = client_of("notion")
    body = {"access_token": "ntn_1", "token_type": "bearer", "bot_id": "b", "workspace_id": "w", "owner": {}}
    far_side.post(client.token_endpoint, json=body)
    answer = exchange(client)
    request = far_side.calls[0].request
    assert json.loads(request.body) == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "code_verifier": VERIFIER,
        "redirect_uri": "https://gateway.test/oauth/v1/callback/notion",
    }
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == f"Basic {base64.b64encode(b'the-id:the-secret').decode()}"
    assert (answer.expires_in, answer.scopes) == (None, None)
    query = authorize(client, ["anything"])
    assert query["owner"] == "user"
    assert "scope" not in query


@pytest.mark.threat("B18")
def test_notion_takes_json_to_revoke_as_well(far_side):
    client = client_of("notion")
    far_side.post(client.revocation_endpoint, json={"request_id": "r"})
    assert oauth2.revoke(client, token="ntn_1", token_type_hint="access_token") == oauth2.Revoked.REVOKED
    assert json.loads(far_side.calls[0].request.body)["token"] == "ntn_1"


@pytest.mark.parametrize(
    "name",
    [preset.name for preset in presets.all() if "json_token_request" in preset.quirks and preset.name != "notion"],
)
def test_the_others_who_take_json_find_the_client_in_it(far_side, name):
    client = client_of(name)
    far_side.post(client.token_endpoint, json={"access_token": "at", "refresh_token": "rt", "expires_in": 3600})
    refresh(client)
    sent = json.loads(far_side.calls[0].request.body)
    assert (sent["grant_type"], sent["refresh_token"]) == ("refresh_token", "old-refresh")
    if client.auth_method == "client_secret_post":
        assert (sent["client_id"], sent["client_secret"]) == ("the-id", "the-secret")


# --- HubSpot ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        ("BAD_REFRESH_TOKEN", "invalid_grant"),
        ("BAD_AUTH_CODE", "invalid_grant"),
        ("BAD_CLIENT_SECRET", "invalid_client"),
        ("BAD_CLIENT_ID", "invalid_client"),
    ],
)
def test_hubspot_says_no_by_status(far_side, status, meant):
    client = client_of("hubspot")
    body = {"status": status, "message": "missing or invalid refresh token", "correlationId": "c"}
    far_side.post(client.token_endpoint, status=400, json=body)
    assert refused(refresh, client).standard_error == meant


def test_hubspot_keeps_its_refresh_token(far_side):
    client = client_of("hubspot")
    body = {"access_token": "CN2z", "refresh_token": "old-refresh", "expires_in": 1800, "token_type": "bearer"}
    far_side.post(client.token_endpoint, json=body)
    assert refresh(client).refresh_token == "old-refresh"


# --- Linear, Dropbox, Zoom, Box, GitLab -------------------------------------------------------------


def test_linear_joins_scopes_with_commas_and_lists_them_either_way(far_side):
    client = client_of("linear")
    assert authorize(client, ["read", "issues:create"])["scope"] == "read,issues:create"
    tokens = {"access_token": "lin_1", "expires_in": 86399, "token_type": "Bearer"}
    far_side.post(client.token_endpoint, json={**tokens, "scope": "read,issues:create"})
    far_side.post(client.token_endpoint, json={**tokens, "scope": ["read", "issues:create"]})
    assert exchange(client).scopes == exchange(client).scopes == ["read", "issues:create"]


def test_dropbox_is_asked_for_offline_and_leaves_the_refresh_token_out_of_a_refresh(far_side):
    client = client_of("dropbox")
    assert authorize(client, ["account_info.read"])["token_access_type"] == "offline"
    body = {"access_token": "sl.1", "token_type": "bearer", "expires_in": 14400, "scope": "account_info.read"}
    far_side.post(client.token_endpoint, json=body)
    assert refresh(client).refresh_token is None


def test_zoom_takes_basic_and_rotates(far_side):
    client = client_of("zoom")
    body = {"access_token": "ey1", "refresh_token": "ey2", "expires_in": 3599, "scope": "user:read meeting:read"}
    far_side.post(client.token_endpoint, json={**body, "token_type": "bearer", "api_url": "https://api.zoom.us"})
    answer = refresh(client)
    assert (answer.refresh_token, answer.scopes) == ("ey2", ["user:read", "meeting:read"])
    assert "client_secret" not in form(far_side.calls[0])


def test_box_takes_the_secret_in_the_form_and_echoes_no_scopes(far_side):
    client = client_of("box")
    body = {"access_token": "T9cE", "expires_in": 3600, "restricted_to": [], "refresh_token": "J7rx"}
    far_side.post(client.token_endpoint, json={**body, "token_type": "bearer"})
    answer = exchange(client)
    assert form(far_side.calls[0])["client_secret"] == "the-secret"
    assert (answer.refresh_token, answer.scopes) == ("J7rx", None)


def test_gitlab_rotates_and_follows_the_rfc(far_side):
    client = client_of("gitlab")
    body = {"access_token": "a", "refresh_token": "b", "expires_in": 7200, "scope": "read_user read_api"}
    far_side.post(client.token_endpoint, json={**body, "created_at": 1788000000, "token_type": "Bearer"})
    far_side.post(client.token_endpoint, status=400, json={"error": "invalid_grant", "error_description": "no"})
    assert refresh(client).refresh_token == "b"
    assert refused(refresh, client).is_terminal


# --- What is data -----------------------------------------------------------------------------------


def test_extra_parameters_are_sent_and_never_what_the_protocol_owns(far_side):
    extra = {"type": "web_server", "code": "theirs", "refresh_token": "theirs"}
    client = replace(client_of("gitlab"), token_params=extra, refresh_params={"type": "refresh"})
    for _ in range(2):
        far_side.post(client.token_endpoint, json={"access_token": "at", "expires_in": 3600})
    exchange(client)
    refresh(client)
    first, second = (form(call) for call in far_side.calls)
    assert (first["type"], first["grant_type"], first["code"]) == ("web_server", "authorization_code", "the-code")
    assert (second["type"], second["refresh_token"]) == ("refresh", "old-refresh")


@pytest.mark.parametrize("name", [preset.name for preset in presets.all() if "no_scope_param" in preset.quirks])
def test_no_scope_is_sent_to_those_who_know_none(name):
    client = client_of(name)
    assert "scope" not in authorize(client, ["anything"])


@pytest.mark.threat("A09")
@pytest.mark.parametrize("preset", presets.all(), ids=lambda preset: preset.name)
def test_every_preset_is_asked_with_pkce_unless_it_says_that_it_breaks_on_it(preset):
    query = authorize(client_of(preset.name), list(preset.scopes))
    assert (query.get("code_challenge_method") == "S256") == ("pkce_off" not in preset.quirks)
    assert query["response_type"] == "code"


def test_without_a_preset_the_rfc_is_followed(far_side):
    provider = OAuthProvider(name="custom", client_id="the-id", token_endpoint="https://idp.example/token")
    client = client_with(provider, "the-secret")
    far_side.post(client.token_endpoint, json=SLACK)
    far_side.post(client.token_endpoint, json={"status": "BAD_REFRESH_TOKEN"}, status=400)
    for call in (exchange, refresh):
        with pytest.raises(oauth2.BadAnswer):
            call(client)
    assert client.quirks == frozenset()


def test_a_preset_that_left_the_catalog_leaves_no_quirks():
    assert client_with(OAuthProvider(name="x", preset="gone"), "").quirks == frozenset()


# --- Every preset -----------------------------------------------------------------------------------


def answer_of(preset, granted):
    """Return a token answer in the shape that the preset's quirks describe."""
    comma = "scope_comma_in_response" in preset.quirks
    fields = {"access_token": "at-1", "token_type": "bearer", "scope": ("," if comma else " ").join(granted)}
    if "no_expires_in" not in preset.quirks:
        fields |= {"expires_in": 3600, "refresh_token": "rt-1"}
    if "user_token_under_authed_user" in preset.quirks:
        fields = {"authed_user": {**fields, "token_type": "user"}, "token_type": "bot", "access_token": "bot"}
    return fields | ({"ok": True} if "ok_flag" in preset.quirks else {})


@pytest.mark.parametrize("preset", presets.all(), ids=lambda preset: preset.name)
def test_every_preset_gets_the_users_token_and_what_was_granted(far_side, preset):
    client, asked = client_of(preset.name), list(preset.scopes)
    far_side.post(client.token_endpoint, json=answer_of(preset, asked))
    answer = exchange(client, asked=asked)
    assert answer.access_token == "at-1"
    assert (answer.expires_in is None) == ("no_expires_in" in preset.quirks)
    assert answer.scopes == (asked or None)
    request = far_side.calls[0].request
    is_json = request.headers["Content-Type"] == "application/json"
    sent = json.loads(request.body) if is_json else form(far_side.calls[0])
    assert is_json == ("json_token_request" in preset.quirks)
    assert ("Authorization" in request.headers) == (client.auth_method == "client_secret_basic")
    assert sent.items() >= {"grant_type": "authorization_code", "code": "the-code", **preset.token_params}.items()


@pytest.mark.parametrize("preset", presets.all(), ids=lambda preset: preset.name)
def test_a_dead_grant_at_every_preset_is_the_end_and_an_outage_is_not(far_side, preset):
    client = client_of(preset.name)
    said = {"ok": False} if "ok_flag" in preset.quirks else {}
    status = 200 if "http_200_error_body" in preset.quirks else 400
    far_side.post(client.token_endpoint, status=status, json={**said, "error": "invalid_grant"})
    far_side.post(client.token_endpoint, status=503, json={**said, "error": "invalid_grant"})
    assert refused(refresh, client).is_terminal
    with pytest.raises(oauth2.ProviderUnavailable):
        refresh(client)
