from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import override_settings
from guardian.shortcuts import assign_perm
from pytest_django import DjangoAssertNumQueries

from audit.models import Event
from clients import rights
from providers.models import OAuthProvider
from tests import factories
from tests.api import PROVIDERS, client_of, findings, provider_body, send

ENDPOINTS = [
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
    "userinfo_endpoint",
    "issuer",
]


@pytest.mark.threat("A12")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://auth.example.com/x", "//x"]
)
def test_an_endpoint_that_is_no_web_address_is_refused(admin: User, endpoint: str, url: str) -> None:
    answer = send(admin, "post", PROVIDERS, provider_body(**{endpoint: url}))
    assert answer.status_code == 400
    assert findings(answer) == [("invalid", endpoint)]
    assert not OAuthProvider.objects.exists()
    assert Event.objects.filter(action="oauth_provider.refused", result="refused", actor="admin").exists()


@pytest.mark.threat("A12")
def test_plain_http_is_refused_beyond_loopback(admin: User) -> None:
    answer = send(admin, "post", PROVIDERS, provider_body(token_endpoint="http://auth.example.com/token"))
    assert findings(answer) == [("https_required", "token_endpoint")]
    assert "HTTPS required" in answer.json()["errors"][0]["detail"]


@pytest.mark.threat("E01")
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "127.0.0.1",
        "localhost",
        "0.0.0.0",  # noqa: S104
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "[fc00::1]",
        "[fe80::1]",
    ],
)
@override_settings(AIGW_OUTBOUND_ALLOW=[])
def test_an_endpoint_at_a_private_address_is_refused(admin: User, host: str) -> None:
    for scheme in ("https", "http"):
        answer = send(admin, "post", PROVIDERS, provider_body(token_endpoint=f"{scheme}://{host}/token"))
        assert findings(answer) == [("address_not_allowed", "token_endpoint")]


def test_an_address_that_the_operator_allowed_is_accepted(admin: User) -> None:
    answer = send(admin, "post", PROVIDERS, provider_body(token_endpoint="http://127.0.0.1:9/token"))
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "Git Hub"}, ("invalid_name", "name")),
        ({"client_secret_ref": "github-secret", "token_endpoint_auth_method": "client_secret_basic"},
         ("invalid_ref", "client_secret_ref")),
        ({"client_secret_ref": "NO_SUCH_SECRET", "token_endpoint_auth_method": "client_secret_basic"},
         ("secret_not_found", "client_secret_ref")),
        ({"token_endpoint_auth_method": "client_secret_post"}, ("required", "client_secret_ref")),
        ({"token_endpoint_auth_method": "private_key_jwt"}, ("invalid_choice", "token_endpoint_auth_method")),
        ({"scopes": ["a b"]}, ("invalid_scopes", "scopes")),
        ({"scopes": "read write"}, ("invalid_scopes", "scopes")),
        ({"scopes": ["read", "read"]}, ("invalid_scopes", "scopes")),
        ({"grant_types": ["password"]}, ("invalid", "grant_types")),
        ({"authorize_params": {"state": "x"}}, ("invalid", "authorize_params")),
        ({"authorize_params": {"prompt": "a\x00b"}}, ("invalid", "authorize_params")),
        ({"resource": "mcp#part"}, ("invalid", "resource")),
        ({"preset": "no-such-preset"}, ("invalid", "preset")),
        ({"preset_parameters": {"domain": "acme.okta.com"}}, ("invalid", "preset_parameters")),
        ({"enabled": "maybe"}, ("invalid", "enabled")),
        ({"display_name": "a\x00b"}, ("null_characters_not_allowed", "display_name")),
        ({"client_secret": "typed here"}, ("unknown_field", "client_secret")),
        ({"callback_url": "https://evil.example/"}, ("read_only", "callback_url")),
    ],
)  # fmt: skip
def test_bad_input_names_its_field(admin: User, fields: dict[str, Any], expected: tuple[str, str]) -> None:
    answer = send(admin, "post", PROVIDERS, provider_body(**fields))
    assert answer.status_code == 400
    assert findings(answer) == [expected]
    assert not OAuthProvider.objects.exists()


def test_what_is_required_is_said_at_once(admin: User) -> None:
    answer = send(admin, "post", PROVIDERS, {})
    assert findings(answer) == [
        ("required", name) for name in ("name", "display_name", "authorization_endpoint", "token_endpoint", "client_id")
    ]


def test_defaults_are_those_of_the_contract(admin: User) -> None:
    factories.make_secret("GITHUB_SECRET")
    body = provider_body(client_secret_ref="GITHUB_SECRET")
    del body["token_endpoint_auth_method"]
    answer = send(admin, "post", PROVIDERS, body)
    assert answer.status_code == 201
    made = answer.json()
    assert made["grant_types"] == ["browser_consent"]
    assert made["token_endpoint_auth_method"] == "client_secret_basic"
    assert (made["require_pkce"], made["enabled"], made["scope_delimiter"]) == (False, True, " ")
    assert made["callback_url"] == "https://gateway.test/oauth/v1/callback/github"
    assert made["created_at"].endswith("Z")


def test_a_taken_name_is_refused_and_a_deleted_one_is_free_again(admin: User) -> None:
    assert send(admin, "post", PROVIDERS, provider_body()).status_code == 201
    assert findings(send(admin, "post", PROVIDERS, provider_body())) == [("unique", "name")]
    assert send(admin, "delete", f"{PROVIDERS}github/").status_code == 204
    assert send(admin, "get", f"{PROVIDERS}github/").status_code == 404
    assert send(admin, "post", PROVIDERS, provider_body()).status_code == 201
    assert OAuthProvider.everything.count() == 2


def test_the_name_is_immutable(admin: User) -> None:
    factories.make_provider()
    answer = send(admin, "patch", f"{PROVIDERS}github/", {"name": "gitlab"})
    assert (answer.status_code, findings(answer)) == (400, [("immutable", "name")])
    assert send(admin, "patch", f"{PROVIDERS}github/", {"name": "github"}).status_code == 200


def test_naming_a_secret_needs_use_of_it(alice: User) -> None:
    factories.make_secret("GITHUB_SECRET")
    assign_perm("providers.add_oauthprovider", alice)
    body = provider_body(client_secret_ref="GITHUB_SECRET", token_endpoint_auth_method="client_secret_basic")
    answer = send(alice, "post", PROVIDERS, body)
    assert (answer.status_code, findings(answer)) == (403, [("secret_permission_denied", "client_secret_ref")])
    assign_perm("vault.use_secret", alice)
    assert send(alice, "post", PROVIDERS, body).status_code == 201


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token_endpoint": "https://elsewhere.example.com/token"}, 403),
        ({"revocation_endpoint": "https://elsewhere.example.com/revoke"}, 403),
        ({"device_authorization_endpoint": "https://elsewhere.example.com/device"}, 403),
        ({"token_endpoint_auth_method": "client_secret_post"}, 403),
        ({"display_name": "Another", "scopes": ["read", "write"]}, 200),
        ({"client_secret_ref": "", "token_endpoint_auth_method": "none"}, 200),
    ],
)
def test_sending_a_secret_elsewhere_needs_use_of_it(alice: User, change: dict[str, Any], status: int) -> None:
    provider = factories.make_provider()
    for action in ("view", "change"):
        assign_perm(f"{action}_oauthprovider", alice, provider)
    assert send(alice, "patch", f"{PROVIDERS}github/", change).status_code == status


@pytest.mark.threat("A18")
def test_a_changed_endpoint_is_audited_with_both_hosts(admin: User) -> None:
    factories.make_provider(base="https://old.example.com")
    send(admin, "patch", f"{PROVIDERS}github/", {"token_endpoint": "https://new.example.com/token?x=secret"})
    event = Event.objects.get(action="oauth_provider.changed")
    assert event.data["fields"] == ["token_endpoint"]
    assert event.data["hosts"] == {"token_endpoint": ["old.example.com", "new.example.com"]}
    assert "secret" not in str(event.data)


def test_the_creator_may_view_change_and_delete_but_not_attach(alice: User) -> None:
    assign_perm("providers.add_oauthprovider", alice)
    assert send(alice, "post", PROVIDERS, provider_body()).status_code == 201
    provider = OAuthProvider.objects.get()
    held = [action for action in ("view", "change", "delete", "attach") if rights.may(alice, action, provider)]
    assert held == ["view", "change", "delete"]
    assert Event.objects.filter(action="permission.granted", target="github").count() == 3


def test_who_may_view_but_not_change_gets_403_and_who_may_not_view_404(alice: User, bob: User) -> None:
    assign_perm("view_oauthprovider", alice, factories.make_provider())
    for method, body in (("patch", {"display_name": "X"}), ("delete", None)):
        refused = send(alice, method, f"{PROVIDERS}github/", body)
        assert (refused.status_code, findings(refused)) == (403, [("permission_denied", None)])
        assert send(bob, method, f"{PROVIDERS}github/", body).status_code == 404
    assert send(bob, "post", PROVIDERS, provider_body(name="other")).status_code == 403
    assert [row["name"] for row in send(alice, "get", PROVIDERS).json()["results"]] == ["github"]
    assert send(bob, "get", PROVIDERS).json()["results"] == []


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name_contains=HUB", ["github"]),
        ("enabled=false", ["gitlab"]),
        ("token_endpoint_auth_method=none", ["gitlab"]),
        ("grant_types=token_exchange", ["gitlab"]),
        ("grant_types=browser_consent", ["github", "gitlab"]),
        ("ordering=-name", ["gitlab", "github"]),
        ("page_size=1&page=2", ["gitlab"]),
    ],
)
def test_lists_can_be_narrowed_ordered_and_paged(admin: User, query: str, names: list[str]) -> None:
    factories.make_provider("github")
    factories.make_provider(
        "gitlab",
        enabled=False,
        token_endpoint_auth_method="none",
        client_secret_ref="",
        grant_types=["token_exchange", "browser_consent"],
    )
    assert [row["name"] for row in send(admin, "get", f"{PROVIDERS}?{query}").json()["results"]] == names


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("nme=x", ("unknown_filter", "nme")),
        ("ordering=client_id", ("unknown_ordering", "ordering")),
        ("enabled=maybe", ("invalid_choice", "enabled")),
        ("page_size=0", ("invalid", "page_size")),
        ("page_size=1e9", ("invalid", "page_size")),
        ("name_contains=%00", ("null_characters_not_allowed", "name_contains")),
    ],
)
def test_a_list_ignores_no_parameter(admin: User, query: str, expected: tuple[str, str]) -> None:
    answer = send(admin, "get", f"{PROVIDERS}?{query}")
    assert (answer.status_code, findings(answer)) == (400, [expected])


def test_a_list_by_object_permissions_takes_few_queries(
    alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    team = Group.objects.create(name="team")
    alice.groups.add(team)
    for number in range(20):
        provider = factories.make_provider(f"p{number}")
        assign_perm("view_oauthprovider", alice if number % 2 else team, provider)
    client = client_of(alice)
    client.get(PROVIDERS)
    with django_assert_max_num_queries(6):
        assert client.get(PROVIDERS).json()["count"] == 20


@pytest.mark.threat("F06")
@pytest.mark.parametrize("field", ["uid", "id", "deleted_at", "user", "owner", "created_at", "is_staff"])
def test_a_field_that_is_not_the_callers_to_set_is_refused(admin: User, field: str) -> None:
    provider = factories.make_provider()
    answer = send(admin, "patch", f"{PROVIDERS}github/", {field: "2000-01-01T00:00:00Z"})
    assert answer.status_code == 400
    stored = OAuthProvider.objects.get()
    assert (stored.uid, stored.deleted_at, stored.created_at) == (provider.uid, None, provider.created_at)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scope_delimiter", "xx"),
        ("scope_delimiter", "x"),
        ("scope_delimiter", ""),
        ("authorize_params", {"response_mode": "form_post"}),
        ("authorize_params", {"Client_ID": "other"}),
    ],
)
def test_what_the_protocol_could_not_work_with_is_refused(admin: User, field: str, value: object) -> None:
    answer = send(admin, "post", PROVIDERS, provider_body(**{field: value}))
    assert answer.status_code == 400
    assert [attr for _, attr in findings(answer)] == [field]


@pytest.mark.threat("A09")
@pytest.mark.parametrize("asked", [{}, {"require_pkce": False}])
def test_a_public_client_always_requires_pkce(admin: User, asked: dict[str, Any]) -> None:
    made = send(admin, "post", PROVIDERS, provider_body(**asked))
    assert (made.status_code, made.json()["require_pkce"]) == (201, True)
    changed = send(admin, "patch", f"{PROVIDERS}github/", {"require_pkce": False})
    assert (changed.status_code, changed.json()["require_pkce"]) == (200, True)


@pytest.mark.parametrize("name", ["", " state", "redirect_uri ", "a=b", "a&b", "code_verifier", "é"])
def test_an_authorize_parameter_has_a_name_that_is_its_own(admin: User, name: str) -> None:
    answer = send(admin, "post", PROVIDERS, provider_body(authorize_params={name: "x"}))
    assert findings(answer) == [("invalid", "authorize_params")]


def test_a_grant_type_is_named_once(admin: User) -> None:
    answer = send(admin, "post", PROVIDERS, provider_body(grant_types=["browser_consent", "browser_consent"]))
    assert findings(answer) == [("invalid", "grant_types")]


def test_a_provider_without_a_preset_takes_no_parameters_later_either(admin: User) -> None:
    send(admin, "post", PROVIDERS, provider_body())
    for method, path in (("patch", f"{PROVIDERS}github/"), ("post", f"{PROVIDERS}github/change-impact/")):
        answer = send(admin, method, path, {"preset_parameters": {"domain": "acme.com"}})
        assert findings(answer) == [("invalid", "preset_parameters")]
    OAuthProvider.objects.update(preset_parameters={"domain": "acme.com"})
    assert send(admin, "patch", f"{PROVIDERS}github/", {"display_name": "Ours"}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        ({"scopes": ["s" * 8001]}, ("invalid_scopes", "scopes")),
        ({"scopes": [f"scope-{number}" for number in range(1000)]}, ("invalid_scopes", "scopes")),
        ({"authorize_params": {"audience": "x" * 8000}}, ("invalid", "authorize_params")),
    ],
)
def test_what_travels_in_a_link_has_a_limit(admin: User, fields: dict[str, Any], finding: tuple[str, str]) -> None:
    assert findings(send(admin, "post", PROVIDERS, provider_body(**fields))) == [finding]
