from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery, current_app
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.utils import timezone

from aigateway.celery import app
from clients import activity
from connections import scan, tasks
from connections.activity import entry_used
from connections.departures import logger as departures_logger
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_refresh import make_expired, stored
from tests.fakes.rotating_provider import RotatingProvider
from vault.fields import Sealed
from vault.models import VaultEntry

HOUR = timedelta(hours=1)

# The scan has threads of its own, which see what was committed.
pytestmark = pytest.mark.django_db(transaction=True)


def make_due(user: User, provider: OAuthProvider, **fields: Any) -> VaultEntry:
    """Make an entry whose token still works but is to be renewed."""
    now = timezone.now()
    times = {"connected_at": now - HOUR, "expires_at": now + HOUR / 10, "refresh_due_at": now}
    return factories.make_vault_entry(user, provider, **{**times, **fields})


@pytest.fixture
def tasks_run_here() -> Iterator[None]:
    """Run queued tasks at once."""
    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = False


def test_every_scheduled_task_exists() -> None:
    names = {entry["task"] for entry in configured.CELERY_BEAT_SCHEDULE.values()}
    assert {name for name in names if name.startswith("connections.")} == {
        tasks.refresh_due.name,
        tasks.refresh_service_tokens.name,
        tasks.collect_orphans.name,
        tasks.retry_revocations.name,
        tasks.poll_devices.name,
    }
    app.loader.import_default_modules()
    assert names <= set(app.tasks)


def test_a_due_entry_is_renewed(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    entry = make_due(alice, rotating)
    tasks.refresh_due.apply()
    assert stored(entry, "access_token") == "access-1"
    assert stored(entry, "refresh_token") == "refresh-2"
    entry.refresh_from_db()
    assert entry.refresh_due_at is not None
    assert entry.refresh_due_at > timezone.now() + HOUR / 2
    tasks.refresh_due.apply()
    assert len(upstream.refreshes) == 1


@pytest.mark.parametrize("why", ["deleted", "disabled", "changed", "user_inactive", "leased", "backing_off", "early"])
def test_what_is_not_to_be_renewed_is_left_alone(
    why: str, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    later = timezone.now() + HOUR
    held: dict[str, dict[str, Any]] = {
        "leased": {"lease_holder": "other", "lease_until": later},
        "backing_off": {"retry_at": later},
        "early": {"refresh_due_at": later},
    }
    make_due(alice, rotating, **held.get(why, {}))
    if why == "deleted":
        rotating.delete()
    OAuthProvider.objects.update(enabled=why != "disabled", client_id="other" if why == "changed" else "gateway-client")
    User.objects.update(is_active=why != "user_inactive")
    tasks.refresh_due.apply()
    assert upstream.refreshes == []


@pytest.mark.threat("C03")
def test_one_bad_entry_harms_no_other(
    alice: User, bob: User, admin: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    silent = factories.make_provider("silent", base="http://127.0.0.1:9")
    now = timezone.now()
    damaged = make_due(alice, rotating, refresh_due_at=now - HOUR)
    VaultEntry.objects.filter(pk=damaged.pk).update(refresh_token=Sealed(b"x"))
    make_due(alice, silent, refresh_due_at=now - HOUR)
    make_due(bob, silent, refresh_due_at=now - HOUR)
    ended = make_due(bob, rotating, refresh_token="long-dead", refresh_due_at=now - HOUR / 2)
    good = make_due(admin, rotating)
    assert scan.refresh_due() == {"refreshed": 1, "failed": 4}
    assert stored(good, "access_token") == "access-1"
    assert VaultEntry.objects.get(pk=ended.pk).attention_reason == "invalid_grant"
    assert VaultEntry.objects.get(pk=damaged.pk).refresh_due_at is None
    assert VaultEntry.objects.filter(provider_uid=silent.uid, failures=1).count() == 2


def test_a_run_is_bounded(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider, settings: Any
) -> None:
    settings.VAULT_SCAN_BATCH = 1
    upstream.rotates = False
    make_due(alice, rotating)
    make_due(bob, rotating)
    assert [scan.refresh_due()["refreshed"] for _ in range(3)] == [1, 1, 0]


@pytest.mark.threat("B19")
@pytest.mark.parametrize("departure", ["user_deactivated", "user_deleted", "provider_deleted"])
def test_a_departure_queues_a_collection(
    departure: str, alice: User, rotating: OAuthProvider, upstream: RotatingProvider, tasks_run_here: None
) -> None:
    factories.make_vault_entry(alice, rotating)
    if departure == "provider_deleted":
        rotating.delete()
    elif departure == "user_deleted":
        alice.delete()
    else:
        alice.is_active = False
        alice.save()
    assert not VaultEntry.objects.exists()
    assert len(upstream.revoked) == 2


@pytest.mark.threat("G03")
def test_a_broker_that_is_down_does_not_break_the_save(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no broker")

    seen: list[str] = []
    monkeypatch.setattr(Celery, "send_task", fail)
    monkeypatch.setattr(departures_logger, "warning", lambda message, **_: seen.append(message))
    alice.is_active = False
    alice.save()
    assert not User.objects.get(pk=alice.pk).is_active
    assert seen == ["collection could not be queued"]


def test_the_use_of_a_connection_is_written_in_batches(alice: User, rotating: OAuthProvider) -> None:
    entry = make_expired(alice, rotating)
    entry_used(entry.pk)
    assert VaultEntry.objects.get(pk=entry.pk).last_used_at is None
    activity.flush()
    assert VaultEntry.objects.get(pk=entry.pk).last_used_at is not None
