from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tests import factories
from tests.api import CONNECTIONS, client_of, findings, send
from vault.models import VaultEntry

FIELDS = {
    "provider",
    "display_name",
    "account",
    "status",
    "scopes_requested",
    "scopes_granted",
    "connected_at",
    "last_used_at",
    "expires_at",
    "refresh_token_present",
    "refresh_token_expires_at",
    "attention_reason",
}


def test_a_user_without_any_permission_sees_what_can_be_connected(alice: User) -> None:
    factories.make_provider("github")
    factories.make_provider("off", enabled=False)
    factories.make_provider("machine", grant_types=["token_exchange"])
    (row,) = send(alice, "get", CONNECTIONS).json()["results"]
    assert set(row) == FIELDS
    assert (row["provider"], row["status"], row["expires_at"]) == ("github", "not_connected", None)


def test_what_is_held_is_listed_even_where_it_cannot_be_connected_again(alice: User) -> None:
    factories.make_vault_entry(alice, factories.make_provider("off", enabled=False))
    (row,) = send(alice, "get", CONNECTIONS).json()["results"]
    assert (row["provider"], row["status"], row["refresh_token_present"]) == ("off", "connected", True)
    answer = send(alice, "post", f"{CONNECTIONS}off/authorize/", {})
    assert (answer.status_code, findings(answer)) == (400, [("oauth_provider_not_found", "provider")])
    assert "is disabled" in answer.json()["errors"][0]["detail"]


@pytest.mark.threat("F05")
def test_nobody_sees_or_ends_anothers_connection(alice: User, bob: User, superuser: User) -> None:
    factories.make_vault_entry(alice, factories.make_provider(), account="alice@upstream")
    for other in (bob, superuser):
        (row,) = send(other, "get", CONNECTIONS).json()["results"]
        assert (row["status"], row["account"]) == ("not_connected", "")
        assert send(other, "delete", f"{CONNECTIONS}github/").json() == {"revocation": "not_connected"}
    assert VaultEntry.objects.filter(user_id=alice.pk).exists()


@pytest.mark.threat("C07")
def test_no_token_is_ever_shown(alice: User) -> None:
    factories.make_vault_entry(alice, factories.make_provider(), access_token="canary-at", refresh_token="canary-rt")
    for path in ("", "github/"):
        answer = send(alice, "get", CONNECTIONS + path)
        assert answer.status_code == 200
        assert "canary" not in answer.content.decode()


def test_disconnecting_ends_the_connection_here_in_every_case(alice: User) -> None:
    factories.make_vault_entry(alice, factories.make_provider(revocation_endpoint=""))
    assert send(alice, "delete", f"{CONNECTIONS}github/").json() == {"revocation": "unsupported"}
    assert not VaultEntry.objects.exists()
    assert send(alice, "delete", f"{CONNECTIONS}github/").json() == {"revocation": "not_connected"}


def test_the_authorize_url_points_at_the_gateway_and_carries_a_ticket(alice: User) -> None:
    factories.make_provider()
    url = send(alice, "post", f"{CONNECTIONS}github/authorize/").json()["authorize_url"]
    assert url.startswith("https://gateway.test/oauth/v1/authorize?provider_name=github&scopes=read&ticket=")


@pytest.mark.parametrize(("method", "path"), [("get", ""), ("delete", ""), ("post", "authorize/"), ("post", "device/")])
def test_what_is_not_offered_is_not_found(alice: User, method: str, path: str) -> None:
    factories.make_provider("off", enabled=False)
    for name in ("off", "nowhere"):
        answer = send(alice, method, f"{CONNECTIONS}{name}/{path}")
        assert (answer.status_code, findings(answer)) == (404, [("not_found", None)])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["alpha", "beta", "gamma"]),
        ("?status=connected", ["beta", "gamma"]),
        ("?name_contains=ET", ["beta"]),
        ("?ordering=-connected_at", ["gamma", "beta", "alpha"]),
        ("?page_size=2&page=2", ["gamma"]),
    ],
)
def test_the_list_can_be_narrowed_ordered_and_paged(alice: User, query: str, names: list[str]) -> None:
    factories.make_provider("alpha")
    now = timezone.now()
    for days, name in enumerate(("beta", "gamma")):
        factories.make_vault_entry(alice, factories.make_provider(name), connected_at=now + timedelta(days=days))
    assert [row["provider"] for row in send(alice, "get", CONNECTIONS + query).json()["results"]] == names


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("user=1", ("unknown_filter", "user")),
        ("status=broken", ("invalid_choice", "status")),
        ("ordering=user_id", ("unknown_ordering", "ordering")),
    ],
)
def test_the_list_ignores_no_parameter(alice: User, query: str, expected: tuple[str, str]) -> None:
    answer = send(alice, "get", f"{CONNECTIONS}?{query}")
    assert (answer.status_code, findings(answer)) == (400, [expected])


@pytest.mark.threat("F06")
def test_an_authorize_body_cannot_name_another_user_or_scopes(alice: User, bob: User) -> None:
    factories.make_provider()
    for field in ("user", "user_id", "scopes", "state"):
        answer = send(alice, "post", f"{CONNECTIONS}github/authorize/", {field: bob.pk})
        assert findings(answer) == [("unknown_field", field)]


def test_a_list_takes_as_many_queries_for_many_as_for_one(
    alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(10):
        provider = factories.make_provider(f"p{number}")
        factories.make_server(f"s{number}", provider=provider)
        factories.make_vault_entry(alice, provider)
    client = client_of(alice)
    client.get(CONNECTIONS)
    with django_assert_max_num_queries(8):
        assert client.get(CONNECTIONS).json()["count"] == 10


@pytest.mark.parametrize("action", ["", "authorize/", "device/"])
def test_a_disabled_provider_that_the_caller_holds_nothing_of_is_not_there(action: str, alice: User, bob: User) -> None:
    """Contract §4: listed is what is enabled, and what the caller holds an entry of; the rest is a 404."""
    provider = factories.make_provider(enabled=False)
    factories.make_vault_entry(bob, provider)
    method = "post" if action else "get"
    assert send(alice, method, f"{CONNECTIONS}github/{action}").status_code == 404
    assert send(alice, "get", CONNECTIONS).json()["count"] == 0
    assert send(bob, method, f"{CONNECTIONS}github/{action}").status_code == (400 if action else 200)
