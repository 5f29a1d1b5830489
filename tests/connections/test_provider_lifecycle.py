"""What becomes of connections when their provider is given a new secret, disabled, moved, deleted, or made again."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit.models import Event
from connections import cut_off, listing, tasks
from connections.errors import ConnectionRequired, ProviderNotFound
from connections.tokens import usable_token
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.api import PROVIDERS, SECRETS, send
from tests.connections.consenting import come_back, leave, offer_path
from tests.fakes.token_endpoint import TokenEndpoint
from vault.models import PendingRevocation, Secret, VaultEntry
from vault.sealing import seal


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    """The far side, which knows one client secret."""
    with TokenEndpoint() as running:
        running.accept_only("gateway-client", "s3cret-value")
        yield running


@pytest.fixture
def provider(db: None, endpoint: TokenEndpoint) -> OAuthProvider:
    return factories.make_provider("acme", **endpoint.endpoints)


def token_of(user: User, provider: OAuthProvider) -> str:
    return usable_token(user_id=user.pk, provider_uid=provider.uid, scopes=["read"]).access_token


def expire(user: User) -> None:
    VaultEntry.objects.filter(user_id=user.pk).update(expires_at=timezone.now() - timedelta(minutes=1))


def put_secret(admin: User, endpoint: TokenEndpoint, value: str) -> None:
    """Rotate on both sides, as an admin does."""
    endpoint.accept_only("gateway-client", value)
    assert send(admin, "patch", f"{SECRETS}ACME_CLIENT_SECRET/", {"value": value}).status_code == 200


def test_a_rotated_secret_is_used_at_the_next_refresh_and_tokens_stay_valid(
    admin: User, alice: User, provider: OAuthProvider, endpoint: TokenEndpoint
) -> None:
    factories.make_vault_entry(alice, provider)
    put_secret(admin, endpoint, "second: secret")
    assert token_of(alice, provider) == "upstream-access"
    assert endpoint.token_requests == []
    expire(alice)
    assert token_of(alice, provider) == "access-1"
    assert [request.client for request in endpoint.token_requests] == [("gateway-client", "second: secret")]


def test_a_rotated_secret_is_used_at_the_next_exchange(
    admin: User, alice: User, alices: Client, provider: OAuthProvider, endpoint: TokenEndpoint
) -> None:
    state = leave(alices, offer_path(alice, provider))["state"]
    put_secret(admin, endpoint, "third")  # while she decides
    assert come_back(alices, "acme", code="code", state=state).status_code == 302
    assert token_of(alice, provider) == "access-1"
    assert endpoint.token_requests[0].client == ("gateway-client", "third")


def test_a_wrong_new_secret_costs_no_connection(
    admin: User, alice: User, provider: OAuthProvider, endpoint: TokenEndpoint
) -> None:
    factories.make_vault_entry(alice, provider, expires_at=timezone.now() + timedelta(seconds=20))
    send(admin, "patch", f"{SECRETS}ACME_CLIENT_SECRET/", {"value": "mistyped"})
    assert token_of(alice, provider) == "upstream-access"
    assert VaultEntry.objects.get().refresh_token is not None


def test_a_disabled_provider_says_so_and_loses_no_consent(
    admin: User, alice: User, alices: Client, provider: OAuthProvider
) -> None:
    factories.make_vault_entry(alice, provider)
    link = offer_path(alice, provider)
    assert send(admin, "patch", f"{PROVIDERS}acme/", {"enabled": False}).status_code == 200
    with pytest.raises(ProviderNotFound) as caught:
        token_of(alice, provider)
    assert caught.value.why == "disabled"
    refused = alices.get(link)
    assert refused.status_code == 400
    assert "OAuth provider not found" in refused.content.decode()
    assert "is disabled" in refused.content.decode()
    tasks.collect_orphans.apply()
    send(admin, "patch", f"{PROVIDERS}acme/", {"enabled": True})
    assert token_of(alice, provider) == "upstream-access"


def moved(provider: OAuthProvider, **changes: Any) -> OAuthProvider:
    OAuthProvider.objects.filter(pk=provider.pk).update(**changes)
    return OAuthProvider.objects.get(pk=provider.pk)


@pytest.mark.threat("A18")
def test_what_was_cut_off_is_wiped_says_why_and_goes_nowhere(
    admin: User, alice: User, provider: OAuthProvider, endpoint: TokenEndpoint
) -> None:
    factories.make_vault_entry(alice, provider)
    with TokenEndpoint() as elsewhere:
        answer = send(admin, "patch", f"{PROVIDERS}acme/", elsewhere.endpoints)
        assert answer.status_code == 200, answer.content
        changed = Event.objects.get(action="oauth_provider.changed").data
        assert changed["cut_off"] == 1
        assert changed["hosts"]["token_endpoint"][0] != changed["hosts"]["token_endpoint"][1]
        provider.refresh_from_db()
        with pytest.raises(ConnectionRequired):
            token_of(alice, provider)
        tasks.collect_orphans.apply()
        tasks.refresh_due.apply()
        tasks.retry_revocations.apply()
        assert elsewhere.requests == endpoint.requests == []
    entry = VaultEntry.objects.get()
    assert (entry.access_token, entry.refresh_token, entry.attention_reason) == (None, None, "provider_changed")
    shown = listing.connection_of(alice, "acme")
    assert shown
    assert (shown.status, shown.attention_reason) == ("needs_attention", "provider_changed")
    assert Event.objects.get(action="connection.cut_off").data["user_id"] == alice.pk
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("A18")
def test_one_run_wipes_more_than_a_batch(provider: OAuthProvider, settings: Settings) -> None:
    settings.VAULT_SCAN_BATCH = 2
    for number in range(5):
        factories.make_vault_entry(factories.make_user(f"user-{number}"), provider)
    moved(provider, client_id="another")
    assert cut_off.wipe_cut_off() == 5
    assert cut_off.wipe_cut_off() == 0


@pytest.mark.threat("A18")
def test_moving_back_revives_nothing(alice: User, bob: User, provider: OAuthProvider) -> None:
    factories.make_vault_entry(alice, provider)
    other = factories.make_vault_entry(bob, factories.make_provider("gitlab"))
    moved(provider, client_id="another")
    tasks.collect_orphans.apply()
    back = moved(provider, client_id="gateway-client")
    card = listing.connection_of(alice, "acme")
    assert card
    assert card.attention_reason == "provider_changed"
    with pytest.raises(Exception, match="acme"):
        token_of(alice, back)
    other.refresh_from_db()
    assert (other.access_token is not None, other.attention_reason) == (True, "")  # the neighbour's stays


@pytest.mark.threat("A18")
def test_a_consent_given_to_the_moved_provider_is_kept(alice: User, provider: OAuthProvider) -> None:
    after = moved(provider, client_id="another")
    factories.make_vault_entry(alice, after, access_token="fresh")
    tasks.collect_orphans.apply()
    assert token_of(alice, after) == "fresh"


@pytest.mark.threat("A18")
def test_what_waits_for_revocation_is_not_sent_to_the_new_endpoint(
    admin: User, alice: User, provider: OAuthProvider, endpoint: TokenEndpoint
) -> None:
    from connections.revocation import disconnect

    endpoint.will(path="/revoke", times=None, status=503)
    factories.make_vault_entry(alice, provider)
    disconnect(alice.pk, provider.uid, reason="user_disconnected", actor=alice)
    asked = len(endpoint.received("/revoke"))
    with TokenEndpoint() as elsewhere:
        send(admin, "patch", f"{PROVIDERS}acme/", {"revocation_endpoint": elsewhere.url("/revoke")})
        PendingRevocation.objects.update(try_at=timezone.now())
        tasks.retry_revocations.apply()
        assert elsewhere.requests == []
    assert len(endpoint.received("/revoke")) == asked
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("A18")
def test_moving_the_secret_needs_use_of_it(alice: User, provider: OAuthProvider) -> None:
    factories.allow(alice, provider, "view", "change")
    factories.make_vault_entry(alice, provider)
    answer = send(alice, "patch", f"{PROVIDERS}acme/", {"token_endpoint": "http://127.0.0.1:9/token"})
    assert answer.status_code == 403
    assert token_of(alice, provider) == "upstream-access"


@pytest.mark.threat("A19")
def test_a_provider_made_again_under_the_same_name_starts_with_nothing(
    admin: User, alice: User, provider: OAuthProvider, endpoint: TokenEndpoint
) -> None:
    factories.make_server(provider=provider)
    factories.make_vault_entry(alice, provider)
    old_uid = provider.uid
    told = send(admin, "get", f"{PROVIDERS}acme/used-by/").json()
    assert ([server["name"] for server in told["servers"]], told["connections"]["total"]) == (["tools"], 1)
    assert send(admin, "delete", f"{PROVIDERS}acme/").status_code == 204
    again = factories.make_provider("acme", **endpoint.endpoints)
    assert again.fingerprint() == provider.fingerprint()
    with pytest.raises(ConnectionRequired):
        token_of(alice, again)
    assert listing.connection_of(alice, "acme").status == "not_connected"  # type: ignore[union-attr]
    assert MCPServer.objects.get().provider_uid == old_uid
    assert send(admin, "get", f"{PROVIDERS}acme/used-by/").json()["servers"] == []
    tasks.collect_orphans.apply()
    with pytest.raises(ConnectionRequired):
        token_of(alice, again)


def test_a_tombstone_still_counts_as_using_its_secret(
    admin: User, alice: User, provider: OAuthProvider, endpoint: TokenEndpoint
) -> None:
    endpoint.will(path="/revoke", times=None, status=503)
    factories.make_vault_entry(alice, provider)
    send(admin, "delete", f"{PROVIDERS}acme/")
    path = f"{SECRETS}ACME_CLIENT_SECRET/"
    (use,) = send(admin, "get", path).json()["used_by"]
    assert use["name"] == "acme"
    assert send(admin, "delete", path).status_code == 400
    endpoint.will(path="/revoke", times=None, status=200)
    PendingRevocation.objects.update(try_at=timezone.now())
    tasks.collect_orphans.apply()
    tasks.retry_revocations.apply()
    factories.bury(provider)
    tasks.collect_orphans.apply()
    assert send(admin, "delete", path).status_code == 204
    assert not Secret.objects.exists()


@pytest.mark.threat("A18")
def test_a_spare_refresh_token_alone_is_cut_off_as_well(alice: User, rotating: OAuthProvider) -> None:
    entry = factories.make_vault_entry(alice, rotating, access_token=None, refresh_token=None)
    VaultEntry.objects.update(spare_refresh_token=seal(entry, "spare_refresh_token", "spare"))
    OAuthProvider.objects.update(client_id="another-client")
    rotating.refresh_from_db()
    assert cut_off.has_cut_off(rotating)
    assert cut_off.wipe_cut_off() == 1
    assert VaultEntry.objects.get().spare_refresh_token is None
