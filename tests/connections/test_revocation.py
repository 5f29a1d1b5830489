from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from audit.models import Event
from connections import revocation, tasks
from connections.errors import ConnectionRequired
from connections.revocation import Outcome, disconnect
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_refresh import use
from tests.fakes.rotating_provider import RotatingProvider
from vault.fields import Sealed
from vault.models import PendingRevocation, Secret, VaultEntry

BOTH = [("refresh_token", "upstream-refresh"), ("access_token", "upstream-access")]


def end(user: User, provider: OAuthProvider) -> Outcome:
    return disconnect(user.pk, provider.uid, reason="user_disconnected", actor=user)


def retry_now() -> None:
    """Let the wait pass and have the task run."""
    PendingRevocation.objects.update(try_at=timezone.now())
    tasks.retry_revocations.apply()


def last_event() -> Any:
    return Event.objects.filter(action="connection.revocation").order_by("-pk")[0].data


def test_bob_does_not_end_alices_connection(alice: User, bob: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    assert end(bob, rotating) is Outcome.NOT_CONNECTED
    assert use(alice, rotating).access_token == "upstream-access"


@pytest.mark.threat("B17")
@pytest.mark.spec("RFC 7009", "2.1")
def test_disconnecting_revokes_both_tokens_the_refresh_token_first(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    assert end(alice, rotating) is Outcome.REVOKED
    assert upstream.revoked == BOTH
    assert not VaultEntry.objects.exists()
    assert not PendingRevocation.objects.exists()
    event = Event.objects.get(action="connection.disconnected")
    assert (event.actor, event.target, event.data["reason"]) == ("alice", "rotating", "user_disconnected")
    assert last_event()["outcome"] == "revoked"


def test_disconnecting_twice_finds_nothing(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    end(alice, rotating)
    assert end(alice, rotating) is Outcome.NOT_CONNECTED
    assert len(upstream.revoked) == 2


@pytest.mark.threat("B17")
def test_a_failing_provider_keeps_nobody_connected_and_is_told_later(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_status = 503
    assert end(alice, rotating) is Outcome.PENDING
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    tasks.retry_revocations.apply()
    assert upstream.revoked == BOTH, "both at once, and then the wait was not kept"
    upstream.revocation_status = 200
    retry_now()
    assert upstream.revoked == BOTH * 2
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("B17", "B18")
def test_a_provider_that_always_fails_is_given_up(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, settings: Any
) -> None:
    settings.VAULT_REVOCATION_ATTEMPTS = 3
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_status = 500
    end(alice, rotating)
    for _ in range(5):
        retry_now()
    assert upstream.revoked == BOTH * 3
    assert not PendingRevocation.objects.exists()
    assert last_event()["outcome"] == "failed"


@pytest.mark.threat("B18")
@pytest.mark.spec("RFC 7009", "2.2.1")
@pytest.mark.parametrize(
    ("status", "asked", "at_least", "at_most"), [(503, "900", 890, 910), (429, "9999999", 3590, 3610)]
)
def test_a_provider_that_asks_to_be_left_alone_is(
    status: int,
    asked: str,
    at_least: int,
    at_most: int,
    alice: User,
    rotating: OAuthProvider,
    upstream: RotatingProvider,
) -> None:
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_status, upstream.revocation_headers = status, {"Retry-After": asked}
    assert end(alice, rotating) is Outcome.PENDING
    wait = PendingRevocation.objects.get().try_at - timezone.now()
    assert at_least < wait.total_seconds() < at_most


@pytest.mark.threat("B18")
def test_a_kind_of_token_that_is_not_revoked_is_no_failure(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_status, upstream.revocation_body = 400, {"error": "unsupported_token_type"}
    assert end(alice, rotating) is Outcome.UNSUPPORTED
    assert upstream.revoked == BOTH
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("B17")
def test_the_task_leaves_to_whoever_ended_it_a_head_start(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_vault_entry(alice, rotating)
    monkeypatch.setattr(revocation, "tell_provider", lambda _: Outcome.PENDING)  # as if it died before it could
    end(alice, rotating)
    monkeypatch.undo()
    assert revocation.retry_revocations() == {}
    retry_now()
    assert upstream.revoked == BOTH


@pytest.mark.threat("B17")
def test_many_connections_end_at_once_and_are_told_later(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "ROWS_PER_TRANSACTION", 2)
    elsewhere = factories.make_vault_entry(alice, factories.make_provider("elsewhere"))
    users = [alice, bob, *(factories.make_user(f"user-{number}") for number in range(5))]
    for user in users:
        factories.make_vault_entry(user, rotating)
    rows = VaultEntry.objects.filter(provider_uid=rotating.uid)
    assert revocation.disconnect_all(rows, reason="test", actor=bob) == 7
    assert list(VaultEntry.objects.all()) == [elsewhere]
    assert upstream.revoked == []
    assert Event.objects.filter(action="connection.disconnected", actor="bob", target="rotating").count() == 7
    assert revocation.retry_revocations() == {"revoked": 7}
    assert len(upstream.revoked) == 14


@pytest.mark.threat("B17")
def test_a_provider_that_is_not_there_does_not_break_the_page(alice: User, rotating: OAuthProvider) -> None:
    OAuthProvider.objects.update(revocation_endpoint="http://127.0.0.1:9/revoke")
    rotating.refresh_from_db()
    factories.make_vault_entry(alice, rotating)
    assert end(alice, rotating) is Outcome.PENDING
    assert not VaultEntry.objects.exists()


@pytest.mark.threat("B18")
def test_without_a_revocation_endpoint_the_tokens_are_erased_here(alice: User, rotating: OAuthProvider) -> None:
    OAuthProvider.objects.update(revocation_endpoint="")
    rotating.refresh_from_db()
    factories.make_vault_entry(alice, rotating)
    assert end(alice, rotating) is Outcome.UNSUPPORTED
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("A18")
def test_a_changed_endpoint_gets_no_old_token(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    OAuthProvider.objects.update(revocation_endpoint=f"{upstream.base}/elsewhere")
    assert end(alice, rotating) is Outcome.UNSUPPORTED
    assert upstream.revoked == []


@pytest.mark.threat("C03")
def test_a_row_that_does_not_open_can_be_disconnected(alice: User, rotating: OAuthProvider) -> None:
    entry = factories.make_vault_entry(alice, rotating)
    VaultEntry.objects.filter(pk=entry.pk).update(access_token=Sealed(b"x"), refresh_token=Sealed(b"y"))
    assert end(alice, rotating) is Outcome.FAILED
    assert not VaultEntry.objects.exists()
    assert Event.objects.filter(action="connection.unreadable").count() == 2


def test_a_dead_connection_is_just_removed(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    factories.make_vault_entry(alice, rotating, access_token=None, refresh_token=None, attention_reason="invalid_grant")
    assert end(alice, rotating) is Outcome.NOT_CONNECTED
    assert not VaultEntry.objects.exists()
    assert upstream.revoked == []


def test_a_missing_client_secret_waits_for_its_admin(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    Secret.objects.all().delete()
    assert end(alice, rotating) is Outcome.PENDING
    factories.make_secret("ROTATING_CLIENT_SECRET")
    retry_now()
    assert upstream.revoked == BOTH


@pytest.mark.threat("B21")
def test_what_another_process_is_telling_is_not_told_twice(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_status = 503
    end(alice, rotating)
    here, elsewhere = PendingRevocation.objects.get(), PendingRevocation.objects.get()
    upstream.revocation_status = 200
    assert revocation.tell_provider(here) is Outcome.REVOKED
    assert revocation.tell_provider(elsewhere) is Outcome.PENDING
    assert upstream.revoked == BOTH * 2


def test_a_silent_provider_does_not_keep_the_others_waiting(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    silent = factories.make_provider("silent", base="http://127.0.0.1:9")
    for user, provider in ((alice, silent), (bob, silent), (alice, rotating)):
        factories.make_vault_entry(user, provider)
        entry = VaultEntry.objects.get(user_id=user.pk, provider_uid=provider.uid)
        revocation.entries.retire(entry, reason="test", now=timezone.now() - timedelta(minutes=1))
    assert revocation.retry_revocations() == {"pending": 1, "revoked": 1}
    assert upstream.revoked == BOTH
