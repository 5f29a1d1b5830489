"""Every page for people, as found in the URL table, tried by who must not (F05). A new page is covered by itself."""

import uuid

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import get_resolver

from clients import tokens
from tests import factories
from tests.clients.test_every_route import _patterns

# Open to everyone, or with a refusal of their own: a consent's link and its answer say what is wrong with them.
PUBLIC = {"sign-in", "sign-out", "consent-callback", "consent-callback-shared"}
ALICES = "alices"
UID = uuid.UUID(int=7)
PAGES = sorted(
    (str(pattern.name), path)
    for path, pattern in _patterns(get_resolver().url_patterns, "")
    if not path.startswith(("admin/", "api/")) and pattern.name not in PUBLIC
)


def address(route: str) -> str:
    """Fill alice's names into a route."""
    for part in ("<slug:name>", "<slug:provider_name>"):
        route = route.replace(part, ALICES)
    return "/" + route.replace("<uuid:uid>", str(UID))


@pytest.fixture
def alices(alice: User) -> None:
    """Give alice one of everything."""
    provider = factories.make_provider(ALICES, device_authorization_endpoint="https://auth.example.com/device")
    factories.allow(alice, factories.make_server(ALICES, provider=provider, description="of-alice"), "view", "use")
    factories.make_vault_entry(alice, provider, account="alice@upstream")
    row, _ = tokens.create(alice, name="of-alice")
    type(row).objects.filter(pk=row.pk).update(uid=UID)


def test_the_table_holds_the_pages() -> None:
    assert {"home", "servers", "server", "tokens", "token-revoke", "connections"} <= {name for name, _ in PAGES}
    assert all("<" not in address(path) for _, path in PAGES)


@pytest.mark.threat("F05")
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(("name", "route"), PAGES)
def test_a_stranger_is_sent_to_sign_in(client: Client, alices: None, method: str, name: str, route: str) -> None:
    path = address(route)
    answer = getattr(client, method)(path)
    if answer.status_code == 405:
        return
    assert answer.status_code == 302
    assert answer["Location"].startswith("/sign-in/?next=/")


@pytest.mark.threat("F05")
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(("name", "route"), PAGES)
def test_bob_sees_nothing_of_alices(
    client: Client, alices: None, bob: User, method: str, name: str, route: str
) -> None:
    client.force_login(bob)
    answer = getattr(client, method)(address(route))
    assert answer.status_code < 500
    text = answer.content.decode()
    assert "of-alice" not in text
    assert "alice@upstream" not in text
    if name.startswith(("server-", "token-")) or name == "server":
        assert answer.status_code in {404, 405} or (method == "get" and answer.status_code == 302)
    assert tokens.usable().filter(uid=UID).exists()
