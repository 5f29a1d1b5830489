"""Garbage collection, of much at a time: in short transactions, by two at once, and what lives is not touched."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from audit.models import Event
from connections import cleanup
from connections.cleanup import Collected
from connections.models import ConsentRequest, DeviceRequest
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_cleanup import make_consent
from tests.connections.test_refresh_once import all_at_once
from tests.fakes.rotating_provider import RotatingProvider
from vault.models import VaultEntry

DEAD, LIVE, CHUNK_SECONDS = 10_000, 300, 1.0
YEAR = timedelta(days=365)


def collect(*args: str) -> dict[str, int]:
    """Run the command; return its counts by the first word that tells the kinds apart."""
    out = StringIO()
    call_command("collect_vault", *args, stdout=out, stderr=StringIO())
    lines = [line.split(None, 1) for line in out.getvalue().splitlines()]
    return {rest: int(count) for count, rest in lines if count.isdigit() and not rest.startswith("collected in")}


def make_dead(provider: OAuthProvider, number: int, **fields: Any) -> None:
    """Make entries whose tokens were wiped a year ago, of users that are not there unless `user_id` says."""
    ended = timezone.now() - YEAR
    users = fields.pop("user_ids", range(1_000_000, 1_000_000 + number))
    VaultEntry.objects.bulk_create(
        VaultEntry(
            user_id=user_id,
            provider_uid=provider.uid,
            provider_fingerprint=provider.fingerprint(),
            connected_at=ended,
            expires_at=ended,
            attention_reason="invalid_grant",
            **fields,
        )
        for user_id in users
    )


def make_live(provider: OAuthProvider, number: int) -> list[int]:
    users = User.objects.bulk_create(User(username=f"live-{index}", password="!") for index in range(number))
    for user in users:
        factories.make_vault_entry(user, provider)
    return [user.pk for user in users]


def checksum(pks: list[int]) -> str:
    """Return a digest of all columns of these users' entries, ciphertext included."""
    rows = VaultEntry.objects.filter(user_id__in=pks).order_by("pk").values_list()
    seen = [[getattr(value, "ciphertext", value) for value in row] for row in rows]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def waited_for_a_core() -> float:
    """Return for how many seconds this thread could have run and had to wait for a core."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


class Transactions:
    """How long each transaction of a collection took, without what other work on the machine kept it waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextmanager
    def timed(self, real: Any) -> Iterator[None]:
        began, waited = time.monotonic(), waited_for_a_core()
        with real:
            yield
        self.seconds.append(time.monotonic() - began - (waited_for_a_core() - waited))

    def clear(self) -> None:
        self.seconds.clear()

    def are_short(self) -> bool:
        """Tell whether each is over within the time that a chunk may take."""
        return max(self.seconds) < CHUNK_SECONDS


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> Transactions:
    seen, real = Transactions(), transaction.atomic
    monkeypatch.setattr(transaction, "atomic", lambda *args, **kwargs: seen.timed(real(*args, **kwargs)))
    return seen


@pytest.mark.threat("B20")
def test_ten_thousand_dead_rows_go_in_short_transactions_and_live_rows_stay(
    rotating: OAuthProvider, transactions: Transactions
) -> None:
    live = make_live(rotating, LIVE)
    make_dead(rotating, DEAD)
    before = checksum(live)
    transactions.clear()
    assert collect()["connections of departed users"] == DEAD
    assert transactions.are_short()
    assert len(transactions.seconds) >= DEAD / cleanup.ROWS_PER_DELETION
    assert (VaultEntry.objects.count(), checksum(live)) == (LIVE, before)
    counts = Event.objects.filter(action="cleanup.collected").values_list("data__user_gone", flat=True)
    assert sum(counts) == DEAD


@pytest.mark.threat("B20", "B17")
def test_orphans_with_tokens_are_revoked_in_short_transactions(
    rotating: OAuthProvider, upstream: RotatingProvider, transactions: Transactions
) -> None:
    live = make_live(factories.make_provider("stays", base=upstream.base), 20)
    departed = [factories.make_vault_entry(User(pk=2_000_000 + index), rotating) for index in range(120)]
    before = checksum(live)
    transactions.clear()
    assert collect()["connections of departed users"] == len(departed)
    assert transactions.are_short()
    assert len(upstream.revoked) == 2 * len(departed)
    assert (VaultEntry.objects.count(), checksum(live)) == (20, before)


@pytest.mark.threat("B20", "B21")
@pytest.mark.django_db(transaction=True)
def test_many_collections_at_once_count_each_row_once(rotating: OAuthProvider, settings: Any) -> None:
    settings.VAULT_DEAD_RETENTION_DAYS = 30
    live = make_live(rotating, 3)
    before = checksum(live)
    make_dead(rotating, 700)
    make_dead(factories.make_provider("other"), len(live), user_ids=live)
    runs = all_at_once(cleanup.collect_orphans)
    assert [run for run in runs if isinstance(run, Exception)] == []
    assert sum((run for run in runs), Collected()) == Collected(user_gone=700, dead=3)
    assert (VaultEntry.objects.count(), checksum(live)) == (3, before)


def everything_once(alice: User, bob: User, rotating: OAuthProvider) -> None:
    """Leave one of every kind to collect, and alice's live connection."""
    factories.make_vault_entry(alice, rotating)
    gone, moved = factories.make_provider("gone"), factories.make_provider("moved")
    factories.make_vault_entry(alice, gone, access_token=None, refresh_token=None)
    gone.delete()
    factories.bury(factories.make_provider("buried"))
    factories.make_vault_entry(bob, rotating)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    factories.make_vault_entry(alice, moved, provider_fingerprint="former")
    make_dead(factories.make_provider("over"), 1, user_ids=[alice.pk])
    make_consent("abandoned", minutes=-1)
    now = timezone.now()
    DeviceRequest.objects.create(
        user_id=alice.pk,
        provider_uid=rotating.uid,
        provider_fingerprint="f",
        verification_uri="https://auth.example.com/device",
        interval=5,
        created_at=now - YEAR,
        expires_at=now - YEAR,
        next_poll_at=now,
    )


@pytest.mark.threat("B20")
def test_a_dry_run_tells_what_a_run_then_takes_and_changes_nothing(
    alice: User, bob: User, rotating: OAuthProvider, settings: Any
) -> None:
    settings.VAULT_DEAD_RETENTION_DAYS = 30
    everything_once(alice, bob, rotating)
    before = checksum([alice.pk, bob.pk])
    told = collect("--dry-run")
    assert list(told.values()) == [1] * 7
    assert checksum([alice.pk, bob.pk]) == before
    assert not Event.objects.filter(action__startswith="cleanup").exists()
    assert (ConsentRequest.objects.count(), DeviceRequest.objects.count()) == (1, 1)
    assert collect() == told
    assert {row.provider_uid for row in VaultEntry.objects.filter(access_token__isnull=False)} == {rotating.uid}
    assert set(collect("--dry-run").values()) == {0}


def test_a_dead_connection_says_why_for_ever_unless_told_otherwise(alice: User, rotating: OAuthProvider) -> None:
    make_dead(rotating, 1, user_ids=[alice.pk])
    assert cleanup.collect_orphans() == Collected()
    assert VaultEntry.objects.get().attention_reason == "invalid_grant"


@pytest.mark.parametrize(
    ("fields", "is_dead"),
    [
        ({"refresh_token": None}, True),
        ({"access_token": None, "refresh_token": None}, True),
        ({"refresh_token_expires_at": timezone.now() - YEAR}, True),
        ({}, False),
        ({"refresh_token_expires_at": timezone.now() + YEAR}, False),
        ({"attention_reason": "upstream_error"}, False),
        ({"refresh_token": None, "expires_at": timezone.now() - timedelta(days=29)}, False),
        ({"refresh_token": None, "expires_at": None}, False),
    ],
)
def test_dead_is_what_only_a_consent_could_bring_back(
    fields: dict[str, Any], is_dead: bool, alice: User, rotating: OAuthProvider, settings: Any
) -> None:
    settings.VAULT_DEAD_RETENTION_DAYS = 30
    factories.make_vault_entry(alice, rotating, **{"expires_at": timezone.now() - YEAR, **fields})
    assert cleanup.collect_orphans() == Collected(dead=int(is_dead))
    assert VaultEntry.objects.exists() is not is_dead


@pytest.mark.threat("B20")
def test_what_was_connected_again_meanwhile_stays(
    alice: User, rotating: OAuthProvider, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VAULT_DEAD_RETENTION_DAYS = 30
    make_dead(rotating, 1, user_ids=[alice.pk])
    real = cleanup._delete

    def reconnect_first(rows: Any) -> int:
        VaultEntry.objects.update(expires_at=timezone.now() + YEAR)
        return real(rows)

    monkeypatch.setattr(cleanup, "_delete", reconnect_first)
    assert cleanup.collect_orphans() == Collected()
    assert VaultEntry.objects.exists()
