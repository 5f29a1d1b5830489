"""The catalog, preset by preset. What no test can tell is whether a provider has moved since."""

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from django.core.exceptions import ValidationError

from providers import presets
from providers.models import AuthMethod, CallbackMode, OAuthProvider
from providers.parameters import PLACEHOLDER, RULES
from providers.presets import QUIRKS, Preset
from providers.validation import OWNED_PARAMETERS, SCOPE
from vault.names import valid_name

URLS = (
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
    "userinfo_endpoint",
    "issuer",
    "docs_url",
    "mcp_server_url",
)
each_preset = pytest.mark.parametrize("preset", presets.all(), ids=lambda preset: preset.name)


def built(preset: Preset, **fields: Any) -> OAuthProvider:
    """Return the provider that an admin gets by giving as little as can be."""
    is_public = preset.token_endpoint_auth_method == AuthMethod.NONE
    return OAuthProvider(
        **{
            **presets.fields(preset, preset.examples),
            "name": preset.name,
            "preset": preset.name,
            "preset_parameters": preset.examples,
            "client_id": "gateway",
            "client_secret_ref": "" if is_public else "SOME_SECRET",
            **fields,
        }
    )


@each_preset
def test_a_preset_keeps_to_its_schema(preset: Preset) -> None:
    valid_name(preset.name)
    assert preset.category in presets.CATEGORIES
    assert preset.display_name.strip() == preset.display_name != ""
    assert preset.token_endpoint_auth_method in AuthMethod
    assert preset.callback_mode in CallbackMode
    assert isinstance(preset.require_pkce, bool)
    texts = [value for name, value in vars(preset).items() if name not in ("require_pkce", "parameters")]
    for value in texts:
        parts = value.items() if isinstance(value, dict) else [value] if isinstance(value, str) else value
        assert all(isinstance(part, str | tuple) for part in parts)
    assert all(isinstance(text, str) for pair in preset.authorize_params.items() for text in pair)
    assert all(note.endswith(".") and note[:1].strip() for note in preset.notes)


@each_preset
def test_every_address_of_a_preset_is_https(preset: Preset) -> None:
    for name in URLS:
        url = PLACEHOLDER.sub("x", getattr(preset, name))
        if url or name in ("authorization_endpoint", "token_endpoint", "docs_url"):
            parts = urlsplit(url)
            assert (parts.scheme, bool(parts.hostname), parts.username) == ("https", True, None), name
            assert name == "docs_url" or parts.fragment == "", name


@each_preset
def test_scopes_are_valid_and_fit_their_delimiter(preset: Preset) -> None:
    assert preset.scope_delimiter in (" ", ",")
    assert preset.scope_parameter in ("scope", "user_scope")
    assert len(set(preset.scopes)) == len(preset.scopes)
    for scope in preset.scopes:
        assert SCOPE.match(scope), scope
        assert preset.scope_delimiter not in scope
    # A scope that is never sent must not look as if it was asked for.
    assert not ("no_scope_param" in preset.quirks and preset.scopes)


@each_preset
def test_placeholders_used_are_those_declared_and_examples_resolve_them(preset: Preset) -> None:
    assert preset.placeholders == {parameter.name for parameter in preset.parameters}
    assert len(preset.parameters) == len(preset.examples)
    for parameter in preset.parameters:
        assert parameter.hint
        assert parameter.rule in RULES
        assert all(parameter.accepts(choice) for choice in (parameter.example, *parameter.choices))
    assert "{" not in str(list(presets.fields(preset, preset.examples).values())).replace("{'", "").replace("{}", "")


@each_preset
def test_only_known_quirks_and_parameters_of_its_own(preset: Preset) -> None:
    assert preset.quirks <= QUIRKS
    assert bool(preset.token_params or preset.refresh_params) == ("token_request_extra_params" in preset.quirks)
    assert not OWNED_PARAMETERS.intersection(preset.authorize_params)
    assert not OWNED_PARAMETERS.intersection({*preset.token_params, *preset.refresh_params})
    assert not (preset.require_pkce and "pkce_off" in preset.quirks)
    assert preset.require_pkce or preset.token_endpoint_auth_method != AuthMethod.NONE


@each_preset
@pytest.mark.django_db
def test_a_provider_made_of_a_preset_passes_every_check(preset: Preset) -> None:
    built(preset).full_clean()


def test_the_catalog_is_large_and_every_category_is_served() -> None:
    counts = Counter(preset.category for preset in presets.all())
    assert sum(counts.values()) >= 100
    assert list(counts) == list(presets.CATEGORIES)
    assert min(counts.values()) >= 6


def test_the_documentation_lists_every_preset() -> None:
    page = (Path(__file__).parents[2] / "docs" / "presets.md").read_text()
    for category in presets.CATEGORIES:
        names = ", ".join(f"`{preset.name}`" for preset in presets.search(category=category))
        assert f"| {category} | {names} |" in page


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("github", {"token_endpoint": "https://github.com/login/oauth/access_token", "revocation_endpoint": ""}),
        ("google", {"authorize_params": {"access_type": "offline", "prompt": "consent"},
                    "revocation_endpoint": "https://oauth2.googleapis.com/revoke"}),
        ("slack", {"scope_delimiter": ",", "scope_parameter": "user_scope",
                   "token_endpoint": "https://slack.com/api/oauth.v2.access"}),
        ("microsoft-entra-id", {"issuer": "https://login.microsoftonline.com/{tenant}/v2.0"}),
        ("atlassian", {"authorize_params": {"audience": "api.atlassian.com", "prompt": "consent"},
                       "token_endpoint": "https://auth.atlassian.com/oauth/token"}),
        ("okta", {"token_endpoint": "https://{domain}/oauth2/v1/token", "issuer": "https://{domain}"}),
        ("auth0", {"token_endpoint": "https://{domain}/oauth/token", "issuer": "https://{domain}/"}),
        ("gitlab", {"revocation_endpoint": "https://gitlab.com/oauth/revoke", "issuer": "https://gitlab.com"}),
        ("notion", {"authorize_params": {"owner": "user"}, "token_endpoint_auth_method": "client_secret_basic"}),
        ("linear", {"scope_delimiter": ",", "token_endpoint": "https://api.linear.app/oauth/token"}),
        ("hubspot", {"token_endpoint": "https://api.hubapi.com/oauth/v3/token",
                     "token_endpoint_auth_method": "client_secret_post"}),
        ("salesforce", {"revocation_endpoint": "https://{hostname}/services/oauth2/revoke"}),
        ("zoom", {"token_endpoint_auth_method": "client_secret_basic",
                  "revocation_endpoint": "https://zoom.us/oauth/revoke"}),
        ("dropbox", {"authorize_params": {"token_access_type": "offline"}, "revocation_endpoint": ""}),
        ("box", {"revocation_endpoint": "https://api.box.com/oauth2/revoke"}),
        ("klaviyo", {"require_pkce": True}),
        ("databricks", {"token_endpoint_auth_method": "none", "require_pkce": True}),
    ],
)  # fmt: skip
def test_what_is_known_of_the_big_ones(name: str, facts: dict[str, Any]) -> None:
    preset = presets.get(name)
    assert {fact: getattr(preset, fact) for fact in facts} == facts


@pytest.mark.parametrize(
    ("name", "quirks"),
    [
        ("github", {"accept_json_required", "http_200_error_body", "scope_comma_in_response", "no_expires_in"}),
        ("slack", {"ok_flag", "http_200_error_body", "user_token_under_authed_user", "pkce_off"}),
        ("notion", {"json_token_request", "no_scope_param"}),
        ("dropbox", {"refresh_omits_rt"}),
        ("hubspot", {"error_in_status"}),
        # Documented to support PKCE, whatever other clients do.
        ("linear", set()),
        ("microsoft-entra-id", set()),
    ],
)
def test_known_quirks(name: str, quirks: set[str]) -> None:
    assert presets.quirks_of(name) >= quirks
    assert "pkce_off" in quirks or "pkce_off" not in presets.quirks_of(name)


@pytest.mark.parametrize("name", ["", "nobody", "GitHub"])
def test_an_unknown_name_is_no_preset_and_has_no_quirks(name: str) -> None:
    assert presets.get(name) is None
    assert presets.quirks_of(name) == frozenset()


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("okta", ["", "https://acme.okta.com", "acme.okta.com/", "evil.com/..@x", "admin@acme.okta.com", "acme",
                  "acme.okta.com?x", "acme.okta.com#x", "acme.okta.com\n", " acme.okta.com", "-acme.okta.com",
                  "acme.okta.com:443:1", "acme.okta.com:", "acme..okta.com", "{domain}.com", "a" * 300 + ".com",
                  "acmé.okta.com", "\u017flack.com", "o\u212ata.com", 5, None, ["acme.okta.com"]]),
        ("zendesk", ["evil.com", "evil.com/", "evil.com#", "a@b", "a:b", "acme.", "", "a b", "-a", "a-"]),
        ("microsoft-entra-id", ["../common", "a/b", "..", "a..b", "a%2fb", ".a", "a?b", ""]),
        ("zoho-crm", ["com/", "de", "com.", ""]),
    ],
)  # fmt: skip
@pytest.mark.threat("A12")
def test_a_value_that_would_leave_its_place_in_the_url_is_refused(preset: str, values: list[Any]) -> None:
    known = presets.get(preset)
    assert known is not None
    (name,) = known.examples
    for value in values:
        with pytest.raises(ValidationError) as refused:
            presets.fields(known, {name: value})
        (sentence,) = refused.value.message_dict["preset_parameters"]
        assert name in sentence
        assert known.examples[name] in sentence


def test_every_missing_and_unknown_parameter_is_named() -> None:
    keycloak, github = presets.get("keycloak"), presets.get("github")
    assert keycloak is not None
    assert github is not None
    with pytest.raises(ValidationError) as refused:
        presets.fields(keycloak, {"host": "keycloak.example.com"})
    assert [line.split()[0] for line in refused.value.messages] == ["keycloak", "hostname", "realm"]
    with pytest.raises(ValidationError, match="github has no parameter 'domain'. It has none"):
        presets.fields(github, {"domain": "acme.okta.com"})
    with pytest.raises(ValidationError, match="an object of strings"):
        presets.fields(keycloak, ["keycloak.example.com"])


def test_parameters_go_into_every_text_of_the_preset() -> None:
    tempo, cognito = presets.get("tempo"), presets.get("amazon-cognito")
    assert tempo is not None
    assert cognito is not None
    filled = presets.fields(tempo, {"jira_subdomain": "ACME"})
    assert filled["authorize_params"] == {"jira_url": "https://acme.atlassian.net"}
    filled = presets.fields(cognito, cognito.examples)
    assert filled["issuer"] == "https://cognito-idp.eu-north-1.amazonaws.com/eu-north-1_AbCdEfGhI"
    assert filled["scopes"] == ["openid", "profile", "email"]


def test_what_a_preset_fills_is_a_copy() -> None:
    google = presets.get("google")
    assert google is not None
    presets.fields(google, {})["authorize_params"]["prompt"] = "none"
    assert google.authorize_params["prompt"] == "consent"


@pytest.mark.parametrize(
    ("text", "category", "expected"),
    [
        ("git hub", "", {"github", "github-enterprise-server"}),
        ("JIRA", "", {"jira", "jira-data-center", "atlassian"}),
        ("google", "Observability", {"google-cloud-monitoring", "google-cloud-logging"}),
        ("no such thing", "", set()),
    ],
)
def test_search_finds_every_word_in_name_or_category(text: str, category: str, expected: set[str]) -> None:
    assert {preset.name for preset in presets.search(text, category)} == expected


def test_new_parameters_reach_what_nobody_typed_over() -> None:
    okta = presets.get("okta")
    assert okta is not None
    current = presets.fields(okta, {"domain": "old.okta.com"}) | {"token_endpoint": "https://typed.example.com/token"}
    moved = presets.refill(okta, current, old={"domain": "old.okta.com"}, new={"domain": "new.okta.com"})
    assert moved["issuer"] == "https://new.okta.com"
    assert "token_endpoint" not in moved
    assert "scopes" not in moved
    assert presets.refill(okta, current, old={}, new={"domain": "new.okta.com"}) == {}


ENTRY = {
    "name": "acme",
    "display_name": "Acme",
    "authorization_endpoint": "https://acme.example.com/authorize",
    "token_endpoint": "https://acme.example.com/token",
    "docs_url": "https://acme.example.com/docs",
}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"category": "Finance", "presets": []}, "needs a known category"),
        ({"category": "Productivity", "presets": [], "more": 1}, "needs a known category"),
        ({"category": "Productivity", "presets": [{**ENTRY, "colour": "red"}]}, "acme: .*colour"),
        ({"category": "Productivity", "presets": [{**ENTRY, "category": "Productivity"}]}, "acme: .*category"),
        ({"category": "Productivity", "presets": [{"name": "acme"}]}, "acme: .*missing"),
        ({"category": "Productivity", "presets": [{**ENTRY, "quirks": ["odd"]}]}, "acme: unknown quirk or rule odd"),
        ({"category": "Productivity", "presets": [{**ENTRY, "parameters": [{"name": "x"}]}]}, "acme: .*missing"),
        ({"category": "Productivity",
          "presets": [{**ENTRY, "parameters": [{"name": "x", "hint": "x", "example": "x", "rule": "any"}]}]},
         "acme: unknown quirk or rule any"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_as_it_should_be_is_refused(tmp_path: Path, document: dict[str, Any], said: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError, match=rf"odd\.yaml: .*{said}" if "acme" not in said else rf"odd\.yaml: {said}"):
        list(presets._read(path))
