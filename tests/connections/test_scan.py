"""The scan at size: what it reads, how many it asks at once, what it leaves to lapse."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from celery.worker import state
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from audit.models import Event
from connections import scan
from connections.errors import TokenExpired
from connections.models import ProviderSlot
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_refresh import make_expired, use
from tests.connections.test_tasks import make_due
from tests.fakes.rotating_provider import RotatingProvider
from vault import entries
from vault.models import VaultEntry

DAY = timedelta(days=1)
ENTRIES = 100_000
pytestmark = pytest.mark.django_db(transaction=True)


def make_many_due(count: int, provider: OAuthProvider) -> None:
    """Make connections of as many users, all due now."""
    User.objects.bulk_create([User(username=f"user-{number}") for number in range(count)])
    for user in User.objects.filter(username__startswith="user-"):
        make_due(user, provider)


def copy_until(total: int, entry: VaultEntry) -> None:
    """Copy a row until there are `total`: a tenth is due, and a tenth its provider's."""
    users = User.objects.bulk_create([User(username=f"user-{number}") for number in range(total // 10)])
    fields = [field for field in VaultEntry._meta.concrete_fields if field.name != "id"]
    is_postgresql = connection.vendor == "postgresql"
    values = {field.column: field.column for field in fields}
    values["uid"] = any_uid = "gen_random_uuid()" if is_postgresql else "lower(hex(randomblob(16)))"
    values["user_id"] = f"{users[0].pk} + n % {len(users)}"
    values["provider_uid"] = f"CASE WHEN n <= {len(users)} THEN provider_uid ELSE {any_uid} END"
    values["refresh_due_at"] = "CASE WHEN n % 10 = 0 THEN refresh_due_at ELSE connected_at END"
    last = total - 1
    numbers = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {last}) SELECT n FROM s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {VaultEntry._meta.db_table} ({', '.join(values)}) "  # noqa: S608 - names of our own model
            f"SELECT {', '.join(values.values())} FROM {VaultEntry._meta.db_table}, ({numbers}) AS numbers"
        )
        cursor.execute("ANALYZE")


@pytest.mark.threat("B16")
def test_the_due_ones_of_a_hundred_thousand_are_found_by_index(alice: User, rotating: OAuthProvider) -> None:
    later = timezone.now() + 400 * DAY
    entry = make_due(alice, rotating, connected_at=later)
    copy_until(ENTRIES, entry)
    assert VaultEntry.objects.count() == ENTRIES
    now = timezone.now()
    page = scan.due_entries(rotating, now)[: scan.PAGE]
    plan = page.explain()
    assert "entries_due_per_provider" in plan
    assert "Seq Scan on vault_vaultentry" not in plan
    assert "SCAN vault_vaultentry" not in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.threat("B16", "B21")
def test_two_schedulers_at_once_renew_each_entry_once_and_keep_to_the_limit(
    rotating: OAuthProvider, upstream: RotatingProvider, settings: Any
) -> None:
    settings.VAULT_REFRESH_CONCURRENCY_PER_PROVIDER = 4
    upstream.rotates, upstream.delay_seconds = False, 0.02
    make_many_due(120, rotating)

    def run(_: int) -> dict[str, int]:
        try:
            return scan.refresh_due()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    scan.refresh_due()
    assert len(upstream.refreshes) == 120
    assert set(VaultEntry.objects.values_list("generation", flat=True)) == {2}
    assert 2 <= upstream.most_in_flight <= 4
    assert not ProviderSlot.objects.exclude(holder="").exists()


@pytest.mark.threat("B16")
def test_what_was_renewed_together_falls_due_spread_out(alice: User, rotating: OAuthProvider) -> None:
    now = timezone.now()
    due = [entries.due_at(now + timedelta(hours=1), now) for _ in range(500)]
    moments = sorted(at for at in due if at)
    assert moments[-1] - moments[0] > timedelta(minutes=4)
    assert moments[-1] <= now + timedelta(minutes=50)


@pytest.mark.threat("B04")
def test_the_slots_of_a_killed_process_lapse(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    now = timezone.now()
    make_due(alice, rotating)
    for number in range(8):
        ProviderSlot.objects.create(
            provider_uid=rotating.uid, number=number, holder="killed", held_until=now + DAY if number else now
        )
    assert scan.refresh_due()["refreshed"] == 1


def test_a_call_waits_for_a_slot_and_a_still_valid_token_does_not(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider, settings: Any
) -> None:
    settings.VAULT_REFRESH_CONCURRENCY_PER_PROVIDER = 1
    now = timezone.now()
    make_expired(alice, rotating)
    make_expired(bob, rotating, expires_at=now + timedelta(minutes=1))
    held = ProviderSlot.objects.create(
        provider_uid=rotating.uid, number=0, holder="other", held_until=now + timedelta(seconds=0.5)
    )
    assert use(bob, rotating).access_token == "upstream-access"
    assert use(alice, rotating).access_token == "access-1"
    held.refresh_from_db()
    assert (held.holder, held.held_until) == ("", None)


def test_a_worker_that_is_to_stop_stores_what_is_under_way_and_begins_nothing_more(
    rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: Any
) -> None:
    upstream.rotates, upstream.delay_seconds = False, 0.1
    make_many_due(30, rotating)
    upstream.while_answering = lambda: monkeypatch.setattr(state, "should_stop", 0)
    counts = scan.refresh_due()
    assert counts["refreshed"] == len(upstream.refreshes) <= 8
    assert VaultEntry.objects.filter(generation=2).count() == len(upstream.refreshes)
    assert not VaultEntry.objects.exclude(lease_holder="").exists()


# --- Idle ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used_days_ago", "days", "keeps", "is_renewed"),
    [
        (61, 60, False, False),
        (59, 60, False, True),
        (None, 60, False, False),
        (61, 60, True, True),
        (61, 0, False, True),
    ],
)
def test_an_unused_connection_is_left_to_lapse_unless_its_provider_keeps_it(
    used_days_ago: int | None,
    days: int,
    keeps: bool,
    is_renewed: bool,
    alice: User,
    rotating: OAuthProvider,
    upstream: RotatingProvider,
    settings: Any,
) -> None:
    settings.VAULT_IDLE_DAYS = days
    OAuthProvider.objects.update(keep_idle_connections=keeps)
    now = timezone.now()
    used_at = None if used_days_ago is None else now - used_days_ago * DAY
    make_due(alice, rotating, connected_at=now - 100 * DAY, last_used_at=used_at)
    for _ in range(2):
        scan.refresh_due()
    assert len(upstream.refreshes) == is_renewed
    assert scan.due_entries(rotating, timezone.now() + DAY).exists() is is_renewed


def test_an_idle_connection_is_renewed_by_its_next_use_and_then_ahead_of_time_again(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    now = timezone.now()
    entry = make_expired(alice, rotating, connected_at=now - 100 * DAY, refresh_due_at=now)
    scan.refresh_due()
    assert use(alice, rotating).access_token == "access-1"
    entry.refresh_from_db()
    assert entry.refresh_due_at is not None


def test_an_idle_connection_that_the_provider_ended_says_so(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating, connected_at=timezone.now() - 100 * DAY)
    upstream.live.clear()
    with pytest.raises(TokenExpired) as caught:
        use(alice, rotating)
    assert caught.value.detail == "idle"
    assert Event.objects.get(action="connection.ended").data["reason"] == "idle"


def test_one_provider_with_much_due_starves_no_other(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: Any
) -> None:
    other = factories.make_provider("other", base=upstream.base, client_secret_ref=rotating.client_secret_ref)
    upstream.rotates, upstream.delay_seconds = False, 0.05
    make_many_due(60, rotating)
    small = make_due(alice, other)
    monkeypatch.setattr(scan, "THREADS", 4)
    monkeypatch.setattr(scan, "RUN_SECONDS", 0.4)
    scan.refresh_due()
    small.refresh_from_db()
    assert small.generation == 2
    assert VaultEntry.objects.filter(provider_uid=rotating.uid, generation=1).exists()
