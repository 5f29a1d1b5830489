from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.utils import timezone

from audit.models import Event
from connections import tokens
from connections.errors import (
    ConnectionRequired,
    ProviderNotFound,
    RefreshUnavailable,
    ScopeUpgradeRequired,
    SecretMissing,
    TokenExpired,
)
from connections.tokens import UsableToken
from providers.models import OAuthProvider
from tests import factories
from tests.fakes.rotating_provider import RotatingProvider
from vault import entries
from vault.fields import Sealed
from vault.models import PendingRevocation, Secret, VaultEntry
from vault.sealing import open_sealed

MINUTE = timedelta(minutes=1)
INVALID_GRANT = (400, {"error": "invalid_grant"}, {})


def make_expired(user: User, provider: OAuthProvider, **fields: Any) -> VaultEntry:
    """Make an entry whose token ended a minute ago."""
    now = timezone.now()
    times = {"connected_at": now - 60 * MINUTE, "expires_at": now - MINUTE}
    return factories.make_vault_entry(user, provider, **{**times, **fields})


def use(user: User, provider: OAuthProvider, **wanted: Any) -> UsableToken:
    return tokens.usable_token(user_id=user.pk, provider_uid=provider.uid, **{"scopes": ["read"], **wanted})


def stored(entry: VaultEntry, column: str) -> str | None:
    return open_sealed(VaultEntry.objects.get(pk=entry.pk), column)


def actions() -> list[str]:
    return list(Event.objects.exclude(action__startswith="secret.").order_by("pk").values_list("action", flat=True))


def let_time_pass(entry: VaultEntry) -> None:
    """Let the wait after a failure end."""
    VaultEntry.objects.filter(pk=entry.pk).update(retry_at=timezone.now())


# --- Refused without a request ----------------------------------------------------------------------


def test_a_user_who_never_connected_is_asked_to(alice: User, rotating: OAuthProvider) -> None:
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)


def test_bob_does_not_get_alices_token(alice: User, bob: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    with pytest.raises(ConnectionRequired):
        use(bob, rotating)


def test_a_deleted_provider_is_not_found(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    rotating.delete()
    with pytest.raises(ProviderNotFound) as caught:
        use(alice, rotating)
    assert caught.value.why == "gone"


def test_a_disabled_provider_is_not_found(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    OAuthProvider.objects.update(enabled=False)
    with pytest.raises(ProviderNotFound) as caught:
        use(alice, rotating)
    assert caught.value.why == "disabled"


@pytest.mark.threat("B19")
def test_a_deactivated_users_token_is_unusable_at_once(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)


@pytest.mark.threat("A18")
def test_a_changed_endpoint_gets_no_old_token(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    make_expired(alice, rotating)
    OAuthProvider.objects.update(token_endpoint=f"{upstream.base}/elsewhere")
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    assert upstream.refreshes == []


def test_missing_scopes_are_named(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    with pytest.raises(ScopeUpgradeRequired) as caught:
        use(alice, rotating, scopes=["read", "write"])
    assert caught.value.missing == ["write"]


@pytest.mark.threat("C02")
def test_a_token_copied_from_another_users_row_does_not_open(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    alices = factories.make_vault_entry(alice, rotating)
    bobs = make_expired(bob, rotating)
    VaultEntry.objects.filter(pk=bobs.pk).update(
        access_token=alices.access_token, refresh_token=alices.refresh_token, expires_at=alices.expires_at
    )
    with pytest.raises(ConnectionRequired):
        use(bob, rotating)
    VaultEntry.objects.filter(pk=bobs.pk).update(expires_at=timezone.now() - MINUTE)
    with pytest.raises(ConnectionRequired):
        use(bob, rotating)
    assert upstream.refreshes == []
    assert actions() == ["connection.unreadable"], "once, however often it is asked for"


@pytest.mark.threat("C03")
@pytest.mark.parametrize("ciphertext", [b"", b"gAAAA", b"plain-text-token"])
def test_a_damaged_row_is_left_alone_and_asks_its_user(
    ciphertext: bytes, alice: User, bob: User, rotating: OAuthProvider
) -> None:
    damaged = factories.make_vault_entry(alice, rotating)
    factories.make_vault_entry(bob, rotating)
    VaultEntry.objects.filter(pk=damaged.pk).update(access_token=Sealed(ciphertext))
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    assert VaultEntry.objects.get(pk=damaged.pk).refresh_token is not None
    assert use(bob, rotating).access_token == "upstream-access"


# --- The provider says no, or nothing ---------------------------------------------------------------


@pytest.mark.threat("B06")
def test_invalid_grant_ends_the_connection_once(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    upstream.live.clear()
    for _ in range(3):
        with pytest.raises(TokenExpired) as caught:
            use(alice, rotating)
        assert caught.value.detail == "invalid_grant"
    assert len(upstream.refreshes) == 1
    assert actions() == ["connection.ended"]
    entry.refresh_from_db()
    assert (entry.access_token, entry.refresh_token, entry.attention_reason) == (None, None, "invalid_grant")


@pytest.mark.threat("B05")
@pytest.mark.django_db(transaction=True)
def test_invalid_grant_is_no_end_when_someone_else_has_rotated(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)

    def rotate_meanwhile() -> None:
        current = VaultEntry.objects.get(pk=entry.pk)
        won = entries.Tokens("winner", "winner-refresh", timezone.now() + 60 * MINUTE, None, ["read"])
        assert entries.replace(current, tokens=won, now=timezone.now())

    upstream.answers.append(INVALID_GRANT)
    _during(upstream, rotate_meanwhile)
    assert use(alice, rotating).access_token == "winner"
    assert "connection.ended" not in actions()


@pytest.mark.threat("B07")
@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_failing_provider_is_left_alone_and_ends_nothing(
    status: int, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    upstream.answers.append((status, {"error": "invalid_grant"}, {}))
    for _ in range(3):
        with pytest.raises(RefreshUnavailable):
            use(alice, rotating)
    assert len(upstream.refreshes) == 1
    let_time_pass(entry)
    assert use(alice, rotating).access_token == "access-1"
    entry.refresh_from_db()
    assert (entry.failures, entry.failing_since, entry.retry_at) == (0, None, None)


@pytest.mark.threat("B07")
def test_a_provider_that_is_not_there_ends_nothing(alice: User, rotating: OAuthProvider) -> None:
    OAuthProvider.objects.update(token_endpoint="http://127.0.0.1:9/token")
    rotating.refresh_from_db()
    entry = make_expired(alice, rotating)
    with pytest.raises(RefreshUnavailable):
        use(alice, rotating)
    assert stored(entry, "refresh_token") == "upstream-refresh"


@pytest.mark.threat("B07")
def test_waits_grow_to_at_most_five_tries_in_ten_minutes(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    upstream.answers = [(503, {}, {})] * 6
    waits = []
    for _ in range(6):
        before = timezone.now()
        with pytest.raises(RefreshUnavailable):
            use(alice, rotating)
        waits.append((VaultEntry.objects.get(pk=entry.pk).retry_at or before) - before)
        let_time_pass(entry)
    assert waits == sorted(waits)
    assert sum(waits[:5], timedelta()) > 10 * MINUTE
    assert waits[5] < 30 * MINUTE


@pytest.mark.threat("B07")
def test_a_still_valid_token_is_used_while_the_provider_fails(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating, expires_at=timezone.now() + MINUTE)
    upstream.answers = [(503, {}, {})]
    assert [use(alice, rotating).access_token for _ in range(3)] == ["upstream-access"] * 3
    assert len(upstream.refreshes) == 1


@pytest.mark.threat("B08")
def test_a_wait_that_the_provider_asks_for_is_kept(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    upstream.answers = [(429, {}, {"Retry-After": "600"})]
    with pytest.raises(RefreshUnavailable):
        use(alice, rotating)
    entry.refresh_from_db()
    assert entry.retry_at is not None
    assert entry.retry_at > timezone.now() + 9 * MINUTE


@pytest.mark.threat("G11")
def test_after_a_day_of_failures_the_user_is_told_and_one_success_heals(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating, failing_since=timezone.now() - timedelta(hours=25), failures=40)
    upstream.answers = [(503, {}, {})]
    for _ in range(2):
        with pytest.raises(TokenExpired) as caught:
            use(alice, rotating)
        assert caught.value.detail == "upstream_error"
    assert stored(entry, "refresh_token") == "upstream-refresh"
    assert VaultEntry.objects.get(pk=entry.pk).attention_reason == "upstream_error"
    let_time_pass(entry)
    assert use(alice, rotating).access_token == "access-1"
    assert VaultEntry.objects.get(pk=entry.pk).attention_reason == ""
    assert "connection.recovered" in actions()


def test_a_refused_client_is_not_the_users_fault(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    OAuthProvider.objects.update(client_secret_ref=factories.make_secret("WRONG", "wrong").name)
    with pytest.raises(RefreshUnavailable) as caught:
        use(alice, rotating)
    assert caught.value.why == "invalid_client"
    assert stored(entry, "refresh_token") == "upstream-refresh"
    assert "connection.refresh_failed" not in actions()


def test_a_missing_client_secret_is_named_and_nothing_is_sent(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    Secret.objects.all().delete()
    with pytest.raises(SecretMissing) as caught:
        use(alice, rotating)
    assert caught.value.secret_name == "ROTATING_CLIENT_SECRET"
    assert upstream.refreshes == []
    assert VaultEntry.objects.get(pk=entry.pk).lease_holder == ""


# --- The provider answers -----------------------------------------------------------------------------


@pytest.mark.threat("B02")
def test_both_tokens_are_replaced_and_the_old_one_is_never_sent_again(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    for _ in range(3):
        use(alice, rotating)
        VaultEntry.objects.filter(pk=entry.pk).update(expires_at=timezone.now() - MINUTE)
    assert upstream.refreshes == ["upstream-refresh", "refresh-2", "refresh-4"]
    assert stored(entry, "access_token") == "access-5"
    assert stored(entry, "refresh_token") == "refresh-6"


@pytest.mark.threat("B03")
def test_an_answer_without_a_refresh_token_keeps_the_old_one(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    upstream.rotates = False
    assert use(alice, rotating).access_token == "access-1"
    assert stored(entry, "refresh_token") == "upstream-refresh"


@pytest.mark.threat("B13")
def test_a_token_that_names_no_expiry_starts_no_refresh_loop(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    upstream.extra = {}
    used = [use(alice, rotating) for _ in range(3)]
    assert {token.usable_until for token in used} == {None}
    assert len(upstream.refreshes) == 1


@pytest.mark.threat("B14")
def test_a_rejected_token_is_refreshed_once_and_then_shared(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = factories.make_vault_entry(alice, rotating)
    first = use(alice, rotating, rejected_generation=entry.generation)
    second = use(alice, rotating, rejected_generation=entry.generation)
    assert first == second
    assert first.access_token == "access-1"
    assert len(upstream.refreshes) == 1


def test_narrowed_scopes_are_noticed(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    make_expired(alice, rotating)
    upstream.extra = {"scope": "profile"}
    with pytest.raises(ScopeUpgradeRequired):
        use(alice, rotating)


# --- Lost and late answers ------------------------------------------------------------------------------


@pytest.mark.threat("B04")
def test_a_lease_that_its_holder_never_gave_back_lapses(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating, lease_holder="killed", lease_until=timezone.now() - MINUTE)
    assert use(alice, rotating).access_token == "access-1"


def test_a_rotation_that_was_lost_with_its_holder_is_told_apart(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating, lease_holder="killed", lease_until=timezone.now() - MINUTE)
    upstream.live.clear()
    with pytest.raises(TokenExpired) as caught:
        use(alice, rotating)
    assert caught.value.detail == "lost_rotation"


def test_a_lease_of_another_process_is_not_waited_for_while_the_token_works(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    now = timezone.now()
    make_expired(alice, rotating, expires_at=now + MINUTE, lease_holder="busy", lease_until=now + MINUTE)
    assert use(alice, rotating).access_token == "upstream-access"
    assert upstream.refreshes == []


@pytest.mark.django_db(transaction=True)
def test_tokens_that_come_after_a_disconnect_are_only_revoked(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    _during(upstream, lambda: VaultEntry.objects.filter(pk=entry.pk).delete())
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    late = PendingRevocation.objects.get()
    assert open_sealed(late, "access_token") == "access-1"
    assert open_sealed(late, "refresh_token") == "refresh-2"
    assert not VaultEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_tokens_that_come_after_a_reconnect_do_not_displace_the_new(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    _during(upstream, lambda: reconnect(alice, rotating, timezone.now()))
    assert use(alice, rotating).access_token == "reconnected"
    assert PendingRevocation.objects.count() == 1


@pytest.mark.threat("G02")
@pytest.mark.django_db(transaction=True)
def test_rotated_tokens_are_not_lost_when_the_database_is_away_for_a_moment(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    away = [OperationalError(), OperationalError()]

    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if away and sql.startswith("UPDATE") and "access_token" in sql:
            raise away.pop()
        return execute(sql, *rest)

    with connection.execute_wrapper(fail):
        assert use(alice, rotating).access_token == "access-1"
    assert stored(entry, "refresh_token") == "refresh-2"
    assert len(upstream.refreshes) == 1


def reconnect(user: User, provider: OAuthProvider, now: datetime) -> VaultEntry:
    return entries.store(
        user_id=user.pk,
        provider_uid=provider.uid,
        fingerprint=provider.fingerprint(),
        tokens=entries.Tokens("reconnected", None, now + 60 * MINUTE, None, ["read"]),
        scopes_requested=["read"],
        account="",
        now=now,
    )


def test_nothing_of_a_token_is_in_a_repr(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    token = use(alice, rotating)
    held = entries.Tokens("canary-access", "canary-refresh")
    assert "upstream-access" not in repr(token)
    assert "canary" not in repr(held)


def test_opening_a_token_is_audited(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    use(alice, rotating)
    event = Event.objects.get(action="connection.opened")
    assert (event.target, event.data) == ("rotating", {"user_id": alice.pk})


def _during(upstream: RotatingProvider, act: Callable[[], object]) -> None:
    """Have `act` done between the request and its answer, on another connection: nothing of ours may be in the way."""

    def act_and_let_go() -> None:
        try:
            act()
        finally:
            connection.close()

    upstream.while_answering = act_and_let_go
