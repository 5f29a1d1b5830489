"""A holder of a lapsed lease wakes up with tokens that the provider has given it: every way that this can end.

The first caller's answer is held back after the rotation, `interrupt` does what another process would do meanwhile.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from connections import attention
from connections.attempt import Attempt, Held
from connections.errors import ConnectionRequired, RefreshUnavailable, TokenExpired
from providers.models import OAuthProvider
from providers.registered import registered_client
from tests.connections.test_refresh import INVALID_GRANT, actions, let_time_pass, make_expired, stored, use
from tests.fakes.rotating_provider import RotatingProvider
from vault import entries
from vault.models import PendingRevocation, VaultEntry
from vault.sealing import open_sealed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: User, rotating: OAuthProvider) -> VaultEntry:
    """A connection whose token has lapsed."""
    return make_expired(alice, rotating)


def interrupt(upstream: RotatingProvider, act: Callable[[], Any]) -> list[Any]:
    """Have `act` done once the provider has rotated and before its answer arrives; return what came of it."""
    outcome: list[Any] = []

    def act_elsewhere() -> None:
        try:
            outcome.append(act())
        except Exception as exc:
            outcome.append(exc)
        finally:
            connection.close()

    upstream.after_rotating.append(act_elsewhere)
    return outcome


def take_over(entry: VaultEntry) -> VaultEntry:
    """Let the lease lapse, and take it as another process would; return the row as that one read it."""
    VaultEntry.objects.filter(pk=entry.pk).update(lease_until=timezone.now())
    read = VaultEntry.objects.get(pk=entry.pk)
    assert entries.claim(read, holder="taker", now=timezone.now(), lease_seconds=45)
    return read


def ask(read: VaultEntry, provider: OAuthProvider) -> VaultEntry:
    """Ask with what `take_over` read."""
    return Attempt(read, provider, "taker", Held(registered_client(provider))).run(wait=False)


def let_lapse(entry: VaultEntry) -> None:
    """Let the access token end."""
    VaultEntry.objects.filter(pk=entry.pk).update(expires_at=timezone.now() - timedelta(minutes=1))


def columns(entry: VaultEntry) -> tuple[str | None, ...]:
    return tuple(stored(entry, name) for name in ("access_token", "refresh_token", "spare_refresh_token"))


@pytest.mark.threat("B04")
def test_a_lapsed_lease_that_nobody_took_loses_nothing(
    entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    interrupt(upstream, lambda: VaultEntry.objects.update(lease_until=timezone.now() - timedelta(minutes=1)))
    assert use(alice, rotating).access_token == "access-1"
    assert columns(entry) == ("access-1", "refresh-2", None)


@pytest.mark.threat("B05")
def test_the_late_answer_is_written_while_the_taker_is_in_flight(
    entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    read = interrupt(upstream, lambda: take_over(entry))
    assert use(alice, rotating).access_token == "access-1"
    current = ask(read[0], rotating)
    assert upstream.refreshes == ["upstream-refresh"] * 2
    assert open_sealed(current, "access_token") == "access-1"
    assert columns(entry) == ("access-1", "refresh-2", None)
    assert "connection.ended" not in actions()


@pytest.mark.threat("B05")
def test_an_end_that_our_own_rotation_caused_is_healed_by_its_answer(
    entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    taker = interrupt(upstream, lambda: ask(take_over(entry), rotating))
    assert use(alice, rotating).access_token == "access-1"
    assert isinstance(taker[0], TokenExpired)
    assert taker[0].detail == "lost_rotation"
    assert columns(entry) == ("access-1", "refresh-2", None)
    assert VaultEntry.objects.get(pk=entry.pk).attention_reason == ""
    assert actions()[-3:] == ["connection.ended", "connection.healed", "connection.opened"]
    let_lapse(entry)
    assert use(alice, rotating).access_token == "access-3"


def test_an_end_is_healed_by_an_answer_that_names_no_new_refresh_token(
    entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    upstream.rotates = False

    def taker_is_refused() -> VaultEntry:
        upstream.answers.append(INVALID_GRANT)
        return ask(take_over(entry), rotating)

    interrupt(upstream, taker_is_refused)
    assert use(alice, rotating).access_token == "access-1"
    assert columns(entry) == ("access-1", "upstream-refresh", None)


@pytest.mark.parametrize("winner", ["taker", "late"])
def test_of_two_rotations_that_crossed_neither_is_lost(
    winner: str, entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    upstream.is_lenient = True
    interrupt(upstream, lambda: ask(take_over(entry), rotating))
    assert use(alice, rotating).access_token == "access-3"
    assert columns(entry) == ("access-3", "refresh-4", "refresh-2")
    upstream.live = {"refresh-4" if winner == "taker" else "refresh-2"}
    let_lapse(entry)
    assert use(alice, rotating).access_token == "access-5"
    assert columns(entry) == ("access-5", "refresh-6", None)
    assert upstream.refreshes[2:] == (["refresh-4"] if winner == "taker" else ["refresh-4", "refresh-2"])
    assert "connection.ended" not in actions()


@pytest.mark.threat("B06")
def test_when_both_of_two_rotations_are_refused_the_connection_ends_once(
    entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    upstream.is_lenient = True
    interrupt(upstream, lambda: ask(take_over(entry), rotating))
    use(alice, rotating)
    upstream.live.clear()
    let_lapse(entry)
    for _ in range(2):
        with pytest.raises(TokenExpired):
            use(alice, rotating)
    assert len(upstream.refreshes) == 4
    assert actions().count("connection.ended") == 1
    assert columns(entry) == (None, None, None)


def test_a_spare_that_comes_while_the_first_is_refused_is_tried(
    entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    def keep_spare() -> None:
        upstream.live = {"spare"}
        assert entries.keep_spare(VaultEntry.objects.get(pk=entry.pk), refresh_token="spare")

    upstream.answers = [INVALID_GRANT, INVALID_GRANT]
    interrupt(upstream, keep_spare)
    assert use(alice, rotating).access_token == "access-1"
    assert upstream.refreshes == ["upstream-refresh", "upstream-refresh", "spare"]


def test_a_provider_that_does_not_rotate_leaves_no_spare(
    entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    upstream.rotates = False
    interrupt(upstream, lambda: ask(take_over(entry), rotating))
    assert use(alice, rotating).access_token == "access-2"
    assert columns(entry) == ("access-2", "upstream-refresh", None)


@pytest.mark.threat("B17")
@pytest.mark.parametrize("reason", ["provider_changed", "user_gone"])
def test_late_tokens_do_not_bring_back_what_was_ended_here(
    reason: str, entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    def end() -> None:
        current = VaultEntry.objects.get(pk=entry.pk)
        if reason == "user_gone":
            entries.retire(current, reason=reason, now=timezone.now())
        else:
            entries.wipe(current, reason=reason, now=timezone.now())

    interrupt(upstream, end)
    with pytest.raises((TokenExpired, ConnectionRequired)):
        use(alice, rotating)
    late = PendingRevocation.objects.get(reason="late_refresh")
    assert open_sealed(late, "refresh_token") == "refresh-2"
    assert not VaultEntry.objects.filter(access_token__isnull=False).exists()


@pytest.mark.threat("B04")
@pytest.mark.parametrize(("answer", "detail"), [((502, {}, {}), "lost_rotation"), ((503, {}, {}), "invalid_grant")])
def test_an_answer_that_was_not_heard_is_remembered_when_the_next_is_a_refusal(
    answer: Any, detail: str, entry: VaultEntry, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    upstream.answers = [answer]
    with pytest.raises(RefreshUnavailable):
        use(alice, rotating)
    upstream.live.clear()
    let_time_pass(entry)
    with pytest.raises(TokenExpired) as caught:
        use(alice, rotating)
    assert caught.value.detail == detail


@pytest.mark.threat("B04")
def test_a_crash_after_the_rotation_survives_a_failure_in_between_as_the_reason(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    past = timezone.now() - timedelta(minutes=1)
    entry = make_expired(alice, rotating, lease_holder="killed", lease_until=past)
    upstream.live.clear()
    upstream.answers = [(503, {}, {})]
    with pytest.raises(RefreshUnavailable):
        use(alice, rotating)
    let_time_pass(entry)
    with pytest.raises(TokenExpired) as caught:
        use(alice, rotating)
    assert caught.value.detail == "lost_rotation"
    assert "before its answer could be kept" in attention.explain("lost_rotation", "Rotating")
