"""The link, the page that it opens, and leaving for the provider (contract §7)."""

import base64
import hashlib
import html
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client
from django.utils import timezone

from audit.models import Event
from connections import consent, registry, tickets
from connections.models import ConsentRequest
from providers.models import OAuthProvider
from tests import factories
from tests.connections.consenting import CODE, come_back, leave, offer_path, press_connect
from vault.models import VaultEntry


def test_the_link_points_at_the_gateway_with_sorted_unique_scopes(alice: User, github: OAuthProvider) -> None:
    url = consent.offer_url(user_id=alice.pk, provider=github, scopes=["write", "read", "write"])
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "gateway.test", "/oauth/v1/authorize")
    query = parse_qs(parts.query)
    assert query["provider_name"] == ["github"]
    assert query["scopes"] == ["read,write"]


def test_the_link_names_no_one(alice: User, github: OAuthProvider) -> None:
    ticket = parse_qs(offer_path(alice, github).partition("?")[2])["ticket"][0]
    content = signing.loads(ticket, salt=tickets.SALT)
    assert content["u"] not in {alice.pk, str(alice.pk), alice.username}
    assert alice.username not in str(content)


def test_wanted_scopes_join_provider_servers_and_what_was_granted(alice: User, github: OAuthProvider) -> None:
    entry = factories.make_vault_entry(alice, github, scopes_granted=["gist", "read"])
    assert consent.wanted_scopes(github, server_scopes=["repo"], entry=entry) == ["gist", "read", "repo"]
    assert consent.wanted_scopes(github, server_scopes=["repo"], entry=None) == ["read", "repo"]


@pytest.mark.threat("A02")
def test_signed_out_the_link_leads_to_sign_in_and_back(browser: Client, alice: User, github: OAuthProvider) -> None:
    path = offer_path(alice, github)
    for answer in (browser.get(path), browser.head(path)):
        assert answer.status_code == 302
        location = urlsplit(answer["Location"])
        assert location.netloc == ""
        assert parse_qs(location.query)["next"] == [path]


@pytest.mark.threat("A02")
def test_signing_in_as_someone_else_stores_nothing(
    browser: Client, alice: User, bob: User, github: OAuthProvider
) -> None:
    path = offer_path(alice, github)
    sign_in = browser.get(path)["Location"]
    page = browser.get(sign_in)
    form = {
        "username": "bob",
        "password": factories.PASSWORD,
        "next": path,
        "csrfmiddlewaretoken": page.context["csrf_token"],
    }
    answer = browser.post(sign_in, form)
    assert answer["Location"] == path
    assert browser.get(path).status_code == 403
    assert not VaultEntry.objects.exists()


@pytest.mark.threat("A01")
@pytest.mark.parametrize("method", ["get", "post"])
def test_another_users_link_is_refused_and_audited(
    browser: Client, alice: User, bob: User, github: OAuthProvider, method: str
) -> None:
    browser.force_login(bob)
    path = offer_path(alice, github)
    page = browser.get(path)
    if method == "post":
        page = browser.post(path, {"csrfmiddlewaretoken": page.context["csrf_token"]})
    assert page.status_code == 403
    assert b"alice" not in page.content
    assert b"Sign out and sign in as yourself" in page.content
    assert not ConsentRequest.objects.exists()
    event = Event.objects.filter(action="oauth.callback.user_mismatch").latest("pk")
    assert (event.actor, event.target, event.result) == ("bob", "github", "refused")


def test_from_anothers_link_one_can_sign_in_as_oneself_and_come_back(
    browser: Client, alice: User, bob: User, github: OAuthProvider
) -> None:
    browser.force_login(bob)
    path = offer_path(alice, github)
    page = browser.get(path)
    form = {"csrfmiddlewaretoken": page.context["csrf_token"], "next": path}
    assert browser.post("/sign-out/", form)["Location"] == path
    assert browser.get(path)["Location"].startswith("/sign-in/?next=")


@pytest.mark.threat("A11")
@pytest.mark.parametrize("elsewhere", ["//evil.example", "https:evil", "\\\\evil", "javascript:alert(1)"])
def test_no_return_address_leads_elsewhere(browser: Client, alice: User, github: OAuthProvider, elsewhere: str) -> None:
    browser.force_login(alice)
    state = leave(browser, f"{offer_path(alice, github)}&{urlencode({'next': elsewhere})}")["state"]
    answer = come_back(browser, "github", code=CODE, state=state, next=elsewhere)
    assert answer["Location"] == "/oauth/v1/done/github"
    page = browser.get(answer["Location"], {"next": elsewhere})
    assert elsewhere not in page.content.decode()
    form = {"csrfmiddlewaretoken": page.context["csrf_token"], "next": elsewhere}
    assert browser.post("/sign-out/", form)["Location"] == "/sign-in/"


def test_the_page_says_what_is_asked_by_which_server_and_why(
    alices: Client, alice: User, github: OAuthProvider
) -> None:
    path = offer_path(alice, github, ["email", "odd.scope", "read"], server_name="tools")
    page = alices.get(path).content.decode()
    assert "Connect Github" in page
    assert "<code>tools</code>" in page
    for text in ("See your e-mail address", "<code>email</code>", "<code>odd.scope</code>", "127.0.0.1"):
        assert text in page


def test_the_page_says_who_asks_for_each_scope(alices, alice, github, monkeypatch) -> None:
    monkeypatch.setattr(registry, "_sources", [lambda user: [registry.ServerNeed("tools", github.uid, ("repo",))]])
    factories.make_vault_entry(alice, github, scopes_granted=["gist"])
    page = alices.get(offer_path(alice, github, ["gist", "odd", "read", "repo"], server_name="tools"))
    assert [(line.scope, line.why) for line in page.context["scopes"]] == [
        ("gist", "granted before"),
        ("odd", ""),
        ("read", "for every connection"),
        ("repo", "for tools"),
    ]


@pytest.mark.threat("A15")
@pytest.mark.parametrize("method", ["get", "head", "options", "put", "patch", "delete"])
def test_nothing_but_a_post_changes_anything(alices: Client, alice: User, github: OAuthProvider, method: str) -> None:
    answer = getattr(alices, method)(offer_path(alice, github))
    assert "Location" not in answer
    assert not ConsentRequest.objects.exists()
    assert answer.status_code in {200, 405, 403}


@pytest.mark.threat("A15")
def test_a_post_without_a_csrf_token_is_403(alices: Client, alice: User, github: OAuthProvider) -> None:
    path = offer_path(alice, github)
    alices.get(path)
    assert alices.post(path).status_code == 403
    assert not ConsentRequest.objects.exists()


@pytest.mark.threat("A15")
def test_the_page_cannot_be_framed(alices: Client, alice: User, github: OAuthProvider) -> None:
    page = alices.get(offer_path(alice, github))
    assert "frame-ancestors 'none'" in page["Content-Security-Policy"]
    assert page["X-Frame-Options"] == "DENY"


def test_the_form_may_lead_to_the_provider_and_only_from_this_page(
    alices: Client, alice: User, github: OAuthProvider
) -> None:
    policy = alices.get(offer_path(alice, github))["Content-Security-Policy"]
    origin = "http://" + urlsplit(github.authorization_endpoint).netloc
    assert f"form-action 'self' {origin};" in policy + ";"
    assert origin not in alices.get("/oauth/v1/authorize")["Content-Security-Policy"]


@pytest.mark.threat("A09")
def test_every_trip_has_s256_and_a_fresh_verifier_and_state(alices: Client, alice: User, github: OAuthProvider) -> None:
    trips = [leave(alices, offer_path(alice, github)) for _ in range(2)]
    for trip in trips:
        assert trip["code_challenge_method"] == "S256"
        assert trip["redirect_uri"] == "https://gateway.test/oauth/v1/callback/github"
        assert len(trip["state"]) >= 22  # 128 bits in base64url
    assert trips[0]["state"] != trips[1]["state"]
    assert trips[0]["code_challenge"] != trips[1]["code_challenge"]


def test_state_is_stored_as_a_digest_and_the_verifier_sealed(
    alices: Client, alice: User, github: OAuthProvider
) -> None:
    trip = leave(alices, offer_path(alice, github))
    row = ConsentRequest.objects.get()
    assert row.state_digest == hashlib.sha256(trip["state"].encode()).hexdigest()
    assert (row.user_id, row.provider_uid, row.scopes) == (alice.pk, github.uid, ["read"])
    assert timedelta(minutes=9) < row.expires_at - timezone.now() <= timedelta(minutes=10)
    assert trip["state"] not in str(vars(row))
    verifier = consent.trips.code_verifier(row) or ""
    assert len(verifier) >= 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    assert challenge == trip["code_challenge"]
    assert verifier.encode() not in bytes(row.code_verifier.ciphertext)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.replace("provider_name=github", "provider_name=gitlab"), "changed on the way"),
        (lambda path: path.replace("scopes=read", "scopes=read%2Cadmin"), "changed on the way"),
        (lambda path: path.replace("scopes=read&", ""), "changed on the way"),
        (lambda path: path.replace("scopes=read", "scopes=read&scopes=admin"), "twice"),
        (lambda path: path[:-1] + ("A" if path[-1] != "A" else "B"), "not complete"),
        (lambda path: path.partition("&ticket=")[0], "not complete"),
        (lambda path: path.partition("&ticket=")[0] + "&ticket=%ff%00%F0%9F%98%80", "not complete"),
    ],
)
def test_a_changed_link_is_400(alices, alice, github, change, sentence) -> None:
    page = alices.get(change(offer_path(alice, github)))
    assert page.status_code == 400
    assert sentence in page.content.decode()
    assert "press Connect" in page.content.decode()


def test_a_link_older_than_an_hour_is_400(alices, alice, github, settings) -> None:
    path = offer_path(alice, github)
    settings.CONSENT_TICKET_SECONDS = -1
    page = alices.get(path)
    assert page.status_code == 400
    assert "older than one hour" in page.content.decode()
    assert "Open Connections and press Connect" in page.content.decode()


def test_a_link_that_is_too_old_comes_with_a_new_one(alices, alice, github, settings) -> None:
    path = offer_path(alice, github)
    settings.CONSENT_TICKET_SECONDS = -1
    page = alices.get(path).content.decode()
    settings.CONSENT_TICKET_SECONDS = 3600
    (link,) = re.findall(r'href="https://gateway\.test(/oauth/v1/authorize[^"]*)">Connect Github<', page)
    assert alices.get(html.unescape(link)).status_code == 200
    OAuthProvider.objects.update(enabled=False)
    settings.CONSENT_TICKET_SECONDS = -1
    assert "/oauth/v1/authorize" not in alices.get(path).content.decode()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"attention_reason": "invalid_grant"}, "no longer accepts the saved sign-in"),
        ({"expires_at": timezone.now() - timedelta(hours=1), "refresh_token": None}, "gave no way to renew it"),
    ],
)
def test_who_is_asked_again_is_told_why_and_what_is_asked_in_addition(alices, alice, github, fields, said) -> None:
    factories.make_vault_entry(alice, github, scopes_granted=["read"], **fields)
    page = alices.get(offer_path(alice, github, ["read", "write"])).content.decode()
    assert "Connect Github" in page
    assert "You are asked again, although you connected" in page
    assert said in page
    assert page.count("in addition</strong>") == 1


def test_who_is_connected_already_is_told_so(alices, alice, github) -> None:
    factories.make_vault_entry(alice, github, scopes_granted=["read"], account="maria@example.com")
    page = alices.get(offer_path(alice, github, ["read"])).content.decode()
    assert "You are connected as maria@example.com" in page
    assert "this only signs you in there anew" in page


def test_who_was_never_connected_is_told_what_it_may_mean_to_be_asked_twice(alices, alice, github) -> None:
    page = alices.get(offer_path(alice, github)).content.decode()
    assert "the connection was ended since" in page
    assert "redirect_uri_mismatch" in page


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda provider: provider.delete(), "OAuth provider not found"),
        (lambda provider: OAuthProvider.objects.update(enabled=False), "OAuth provider not found: Github is disabled"),
        (lambda provider: OAuthProvider.objects.update(grant_types=["token_exchange"]), "offers no browser consent"),
    ],
)
def test_a_provider_that_cannot_be_connected_is_said(alices, alice, github, change, sentence) -> None:
    path = offer_path(alice, github)
    change(github)
    page = alices.get(path)
    assert page.status_code == 400
    assert sentence in page.content.decode()


@pytest.mark.threat("A19")
def test_a_provider_made_again_under_the_same_name_is_not_meant(alices, alice, github, far_side) -> None:
    path = offer_path(alice, github)
    github.delete()
    factories.make_provider("github", base=far_side.base)
    assert alices.get(path).status_code == 400


@pytest.mark.threat("A12")
@pytest.mark.parametrize(
    "endpoint",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "http://203.0.113.9/authorize",
        "//203.0.113.9/a",
    ],
)
def test_an_unsafe_endpoint_is_refused_at_use_and_never_shown(alices, alice, github, endpoint) -> None:
    path = offer_path(alice, github)
    form = {"csrfmiddlewaretoken": alices.get(path).context["csrf_token"]}
    OAuthProvider.objects.update(authorization_endpoint=endpoint)
    for answer in (alices.get(path), alices.post(path, form)):
        assert answer.status_code == 400
        assert "Location" not in answer
        assert endpoint not in answer.content.decode()
        assert endpoint not in answer["Content-Security-Policy"]
    assert not ConsentRequest.objects.exists()


@pytest.mark.threat("A13")
@pytest.mark.parametrize("header", ["host", "x-forwarded-host"])
def test_a_forged_host_changes_nothing(browser, alices, alice, github, header) -> None:
    path = offer_path(alice, github)
    page = alices.get(path, headers={header: "evil.example"})
    assert page.status_code == (400 if header == "host" else 200)
    assert b"evil.example" not in page.content
    if header == "x-forwarded-host":
        form = {"csrfmiddlewaretoken": page.context["csrf_token"]}
        answer = alices.post(path, form, headers={header: "evil.example"})
        query = parse_qs(urlsplit(answer["Location"]).query)
        assert query["redirect_uri"] == ["https://gateway.test/oauth/v1/callback/github"]


def test_a_missing_client_secret_is_said_before_leaving(alices, alice, github) -> None:
    github.client_secret_ref = "GONE_SECRET"
    github.save()
    answer = press_connect(alices, offer_path(alice, github))
    assert answer.status_code == 400
    assert "Secret GONE_SECRET not found" in answer.content.decode()
    assert not ConsentRequest.objects.exists()
