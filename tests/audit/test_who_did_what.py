"""The acts that H05 names leave who, what, on what, with which result and in which request.

Connecting is in `tests/connections/test_consent_return.py`, opening in `tests/providers/test_oauth2_registered.py`.
"""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from audit.models import Event
from connections import refresh
from connections.errors import TokenExpired
from providers.models import OAuthProvider
from tests import factories
from tests.api import CONNECTIONS, PROVIDERS, SECRETS, provider_body, send
from tests.connections.consenting import FakeProvider, fake_provider
from vault.models import VaultEntry

pytestmark = pytest.mark.threat("H05")


@pytest.fixture
def far_side():
    with fake_provider() as fake:
        yield fake


@pytest.fixture
def github(db: None, far_side: FakeProvider) -> OAuthProvider:
    return factories.make_provider("github", base=far_side.base)


def the_event(action: str) -> Event:
    return Event.objects.filter(action=action).latest("pk")


def is_whole(event: Event, *, actor: str, target: str, result: str = "ok") -> bool:
    """Tell whether it says all of it, and that it came with a request."""
    said = (event.actor, event.target, event.result)
    assert said == (actor, target, result)
    return bool(event.request_id and event.target_type and event.at)


def test_a_disconnect(alice: User, github: OAuthProvider) -> None:
    factories.make_vault_entry(alice, github)
    assert send(alice, "delete", f"{CONNECTIONS}github/").status_code < 300
    assert is_whole(the_event("connection.disconnected"), actor="alice", target="github")


def test_a_failed_renewal(alice: User, github: OAuthProvider, far_side: FakeProvider) -> None:
    far_side.status, far_side.tokens = 400, {"error": "invalid_grant"}
    factories.make_vault_entry(alice, github)
    with pytest.raises(TokenExpired):
        refresh.renewed(VaultEntry.objects.get(), github)
    event = the_event("connection.ended")
    assert (event.target, event.result, event.data["user_id"]) == ("github", "failed", alice.pk)


def test_a_secret_written_and_one_opened(superuser: User, github: OAuthProvider) -> None:
    assert send(superuser, "post", SECRETS, {"name": "MCP_KEY", "value": "s3cret-value"}).status_code == 201
    assert is_whole(the_event("secret.created"), actor=superuser.username, target="MCP_KEY")
    assert "s3cret-value" not in str(list(Event.objects.values_list("data", flat=True)))


def test_an_admins_change_and_a_right_that_is_given(superuser: User, alice: User) -> None:
    assert send(superuser, "post", PROVIDERS, provider_body()).status_code == 201
    assert is_whole(the_event("oauth_provider.created"), actor=superuser.username, target="github")
    body = {"user": "alice", "permissions": ["view"]}
    given = send(superuser, "post", f"{PROVIDERS}github/permissions/", body)
    assert given.status_code < 300, given.content
    assert is_whole(the_event("permission.granted"), actor=superuser.username, target="github")


def test_a_token_issued_and_revoked(alice: User) -> None:
    browser = Client(headers={"host": "gateway.test"}, SERVER_NAME="gateway.test", **{"wsgi.url_scheme": "https"})
    browser.force_login(alice)
    made = browser.post("/tokens/", {"name": "laptop", "lasts": "30"})
    assert made.status_code == 200, made.content
    row = alice.api_tokens.get()
    assert is_whole(the_event("api_token.created"), actor="alice", target=row.prefix)
    assert browser.post(f"/tokens/{row.uid}/revoke/").status_code == 302
    assert is_whole(the_event("api_token.revoked"), actor="alice", target=row.prefix)
