from typing import Any

import pytest
from django.contrib.auth.models import User

from providers import presets
from providers.models import OAuthProvider
from tests import factories
from tests.api import PROVIDERS, findings, send

PRESETS = "/api/v1/oauth-provider-presets/"


def body(preset: str, **fields: Any) -> dict[str, Any]:
    """Return the least that makes a provider from a preset."""
    return {"name": preset, "preset": preset, "client_id": "gateway", "client_secret_ref": "SOME_SECRET", **fields}


@pytest.fixture
def secret(db: None) -> None:
    """Have a secret to name."""
    factories.make_secret("SOME_SECRET")


def test_the_catalog_is_for_any_signed_in_caller_and_nobody_else(bob: User) -> None:
    assert send(None, "get", PRESETS).status_code == 401
    assert send(None, "get", f"{PRESETS}github/").status_code == 401
    assert send(bob, "get", PRESETS).json()["count"] == len(presets.all()) >= 100


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_catalog_is_read_only(superuser: User, method: str) -> None:
    for path in (PRESETS, f"{PRESETS}github/"):
        assert send(superuser, method, path, {}).status_code == 405


def test_a_preset_says_what_it_fills_and_what_it_asks_for(bob: User) -> None:
    found = send(bob, "get", f"{PRESETS}okta/").json()
    assert found["token_endpoint"] == "https://{domain}/oauth2/v1/token"
    assert found["scopes"] == ["openid", "profile", "email", "offline_access"]
    assert [parameter["name"] for parameter in found["parameters"]] == ["domain"]
    assert found["parameters"][0]["example"] == "acme.okta.com"
    assert "no slash" in found["parameters"][0]["rule"]
    assert "offline_access is needed for a refresh token." in found["notes"]
    slack = send(bob, "get", f"{PRESETS}slack/").json()
    assert (slack["scope_delimiter"], "ok_flag" in slack["quirks"]) == (",", True)
    assert send(bob, "get", f"{PRESETS}nobody/").status_code == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name_contains=GITHUB", ["github", "github-enterprise-server"]),
        ("search=jira", ["atlassian", "jira", "jira-data-center"]),
        ("search=google&category=Observability", ["google-cloud-logging", "google-cloud-monitoring"]),
        ("search=jira&ordering=-name", ["jira-data-center", "jira", "atlassian"]),
        ("search=jira&page_size=1&page=2", ["jira"]),
        ("search=nothing+like+it", []),
    ],
)
def test_the_catalog_can_be_searched_filtered_ordered_and_paged(bob: User, query: str, names: list[str]) -> None:
    assert [row["name"] for row in send(bob, "get", f"{PRESETS}?{query}").json()["results"]] == names


@pytest.mark.parametrize("category", presets.CATEGORIES)
def test_every_category_is_a_filter(bob: User, category: str) -> None:
    query = category.replace("&", "%26").replace(" ", "+")
    rows = send(bob, "get", f"{PRESETS}?category={query}").json()["results"]
    assert {row["category"] for row in rows} == {category}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("categry=x", ("unknown_filter", "categry")),
        ("category=Finance", ("invalid_choice", "category")),
        ("ordering=scopes", ("unknown_ordering", "ordering")),
    ],
)
def test_the_catalog_ignores_no_parameter(bob: User, query: str, expected: tuple[str, str]) -> None:
    answer = send(bob, "get", f"{PRESETS}?{query}")
    assert (answer.status_code, findings(answer)) == (400, [expected])


@pytest.mark.usefixtures("secret")
def test_github_takes_a_client_id_and_a_secret(admin: User) -> None:
    answer = send(admin, "post", PROVIDERS, body("github"))
    assert answer.status_code == 201
    made = answer.json()
    assert made["display_name"] == "GitHub"
    assert made["authorization_endpoint"] == "https://github.com/login/oauth/authorize"
    assert made["token_endpoint_auth_method"] == "client_secret_post"
    assert made["scopes"] == ["read:user", "read:org"]
    assert (made["preset"], made["preset_parameters"]) == ("github", {})
    assert made["callback_url"] == "https://gateway.test/oauth/v1/callback/github"


def test_one_preset_refuses_an_unknown_parameter_too(bob: User) -> None:
    assert findings(send(bob, "get", f"{PRESETS}okta/?parameter=x")) == [("unknown_filter", "parameter")]


@pytest.mark.usefixtures("secret")
def test_what_was_typed_wins(admin: User) -> None:
    typed = {"display_name": "Ours", "scopes": ["repo"], "userinfo_endpoint": "", "authorize_params": {"login": "x"}}
    made = send(admin, "post", PROVIDERS, body("github", **typed)).json()
    assert {name: made[name] for name in typed} == typed
    assert made["account_claim"] == "login"


def test_a_public_client_of_a_preset_needs_no_secret(admin: User) -> None:
    made = body("databricks", preset_parameters={"workspace_host": "dbc-1.cloud.databricks.com"})
    del made["client_secret_ref"]
    answer = send(admin, "post", PROVIDERS, made)
    assert answer.status_code == 201
    assert (answer.json()["token_endpoint_auth_method"], answer.json()["require_pkce"]) == ("none", True)


def test_a_secret_is_still_needed_where_the_preset_says_so(admin: User) -> None:
    made = body("github")
    del made["client_secret_ref"]
    assert findings(send(admin, "post", PROVIDERS, made)) == [("required", "client_secret_ref")]
    assert findings(send(admin, "post", PROVIDERS, {"preset": "github"})) == [
        ("required", "name"),
        ("required", "client_id"),
    ]


@pytest.mark.usefixtures("secret")
def test_okta_without_a_domain_says_what_to_give(admin: User) -> None:
    answer = send(admin, "post", PROVIDERS, body("okta"))
    assert (answer.status_code, findings(answer)) == (400, [("required", "preset_parameters")])
    detail = answer.json()["errors"][0]["detail"]
    assert detail == (
        "domain is missing: give a host name with its dots, no https://, no slash, no user name,"
        " for example acme.okta.com."
    )
    assert not OAuthProvider.objects.exists()


@pytest.mark.threat("A12")
@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("domain", ["https://acme.okta.com/", "evil.com/..@x", "acme", "a@acme.okta.com", 5, None])
def test_a_domain_that_is_no_host_name_is_refused(admin: User, domain: Any) -> None:
    answer = send(admin, "post", PROVIDERS, body("okta", preset_parameters={"domain": domain}))
    assert (answer.status_code, findings(answer)) == (400, [("invalid", "preset_parameters")])
    assert "domain" in answer.json()["errors"][0]["detail"]
    assert not OAuthProvider.objects.exists()


@pytest.mark.threat("E01")
@pytest.mark.usefixtures("secret")
def test_a_domain_at_a_private_address_is_judged_like_any_other(admin: User) -> None:
    answer = send(admin, "post", PROVIDERS, body("okta", preset_parameters={"domain": "169.254.169.254"}))
    assert ("address_not_allowed", "token_endpoint") in findings(answer)


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"preset": "nobody"}, ("invalid", "preset")),
        ({"preset": "github", "preset_parameters": {"domain": "acme.okta.com"}}, ("invalid", "preset_parameters")),
        ({"preset": "github", "preset_parameters": "domain"}, ("invalid", "preset_parameters")),
        ({"preset": "github", "preset_parameters": None}, ("null", "preset_parameters")),
        ({"preset": "", "preset_parameters": {"domain": "acme.okta.com"}}, ("invalid", "preset_parameters")),
    ],
)
def test_a_preset_that_cannot_be_is_refused(admin: User, fields: dict[str, Any], expected: tuple[str, str]) -> None:
    sent = body("github", display_name="X", authorization_endpoint="https://a.example.com/a")
    sent |= {"token_endpoint": "https://a.example.com/t", **fields}
    answer = send(admin, "post", PROVIDERS, sent)
    assert (answer.status_code, findings(answer)) == (400, [expected])
    assert not OAuthProvider.objects.exists()


@pytest.mark.usefixtures("secret")
def test_the_preset_is_immutable(admin: User) -> None:
    send(admin, "post", PROVIDERS, body("github"))
    answer = send(admin, "patch", f"{PROVIDERS}github/", {"preset": "gitlab"})
    assert (answer.status_code, findings(answer)) == (400, [("immutable", "preset")])
    assert send(admin, "patch", f"{PROVIDERS}github/", {"preset": "github"}).status_code == 200


@pytest.mark.usefixtures("secret")
def test_new_parameters_move_what_nobody_typed_over(admin: User) -> None:
    send(
        admin,
        "post",
        PROVIDERS,
        body("okta", preset_parameters={"domain": "old.okta.com"}, revocation_endpoint="https://x.example.com/r"),
    )
    bad = send(admin, "patch", f"{PROVIDERS}okta/", {"preset_parameters": {"domain": "x/y"}})
    assert findings(bad) == [("invalid", "preset_parameters")]
    answer = send(admin, "patch", f"{PROVIDERS}okta/", {"preset_parameters": {"domain": "new.okta.com"}})
    assert answer.status_code == 200
    assert answer.json()["token_endpoint"] == "https://new.okta.com/oauth2/v1/token"
    assert answer.json()["revocation_endpoint"] == "https://x.example.com/r"
    assert answer.json()["preset_parameters"] == {"domain": "new.okta.com"}


@pytest.mark.usefixtures("secret")
def test_the_same_body_can_be_put_again(admin: User) -> None:
    sent = body("okta", preset_parameters={"domain": "acme.okta.com"})
    made = send(admin, "post", PROVIDERS, sent).json()
    again = send(admin, "put", f"{PROVIDERS}okta/", sent)
    assert again.status_code == 200
    assert {**again.json(), "updated_at": ""} == {**made, "updated_at": ""}


@pytest.mark.usefixtures("secret")
def test_a_provider_whose_preset_left_the_catalog_can_still_be_changed(admin: User) -> None:
    factories.make_provider("old", preset="gone", preset_parameters={"domain": "acme.example.com"})
    answer = send(admin, "patch", f"{PROVIDERS}old/", {"scopes": ["read", "write"]})
    assert (answer.status_code, answer.json()["preset"]) == (200, "gone")


def test_providers_can_be_filtered_by_preset(admin: User) -> None:
    factories.make_provider("ours", preset="github")
    factories.make_provider("other")
    assert [row["name"] for row in send(admin, "get", f"{PROVIDERS}?preset=github").json()["results"]] == ["ours"]


def test_the_schema_describes_the_catalog() -> None:
    schema = send(None, "get", "/api/v1/schema/").json()
    listing = schema["paths"]["/api/v1/oauth-provider-presets/"]["get"]
    assert {parameter["name"] for parameter in listing["parameters"]} >= {"category", "search", "name_contains", "page"}
    required = schema["components"]["schemas"]["OAuthProvider"]["required"]
    assert {"name", "client_id"} <= set(required)
    assert "token_endpoint" not in required


@pytest.mark.threat("A09")
def test_a_public_client_of_a_provider_that_breaks_on_pkce_is_refused(admin: User) -> None:
    made = body("slack", token_endpoint_auth_method="none")
    del made["client_secret_ref"]
    answer = send(admin, "post", PROVIDERS, made)
    assert (answer.status_code, findings(answer)) == (400, [("invalid", "token_endpoint_auth_method")])
