"""A provider that fails, asks to be left alone, or refuses our client: what every process makes of it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.utils import timezone

from audit.models import Event
from connections import provider_health, scan
from connections.errors import RefreshUnavailable, TokenExpired
from connections.models import ProviderHealth
from connections.provider_health import Status
from providers.models import OAuthProvider
from tests import factories
from tests.connections import race_process
from tests.connections.test_refresh import let_time_pass, make_expired, stored, use
from tests.connections.test_tasks import make_due, tasks_run_here
from tests.fakes.rotating_provider import RotatingProvider
from vault import sealing
from vault.models import Secret, VaultEntry

__all__ = ["tasks_run_here"]
HOUR = timedelta(hours=1)
DOWN = (503, {}, {})
pytestmark = pytest.mark.django_db(transaction=True)


def health(provider: OAuthProvider) -> provider_health.Health:
    return provider_health.of([provider.uid])[provider.uid]


def let_the_pause_end() -> None:
    ProviderHealth.objects.update(paused_until=timezone.now())


def outcomes(users: list[User], provider: OAuthProvider) -> list[str]:
    """Call for each, one after the other; return the token or the reason that each got."""
    return [outcome(user, provider) for user in users]


def outcome(user: User, provider: OAuthProvider) -> str:
    try:
        return use(user, provider).access_token
    except RefreshUnavailable as exc:
        return exc.why
    finally:
        connection.close()


def make_users(count: int, provider: OAuthProvider, **fields: Any) -> list[User]:
    users = [factories.make_user(f"user-{number}") for number in range(count)]
    for user in users:
        make_expired(user, provider, **fields)
    return users


# --- Retry-After ------------------------------------------------------------------------------------------


@pytest.mark.threat("B08")
@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
def test_nobody_asks_before_the_time_that_the_provider_named(
    status: int, form: str, alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    make_expired(bob, rotating)
    until = datetime.now(UTC) + timedelta(seconds=31)
    upstream.answers = [(status, {}, {"Retry-After": "30" if form == "seconds" else format_datetime(until, True)})]
    assert outcomes([alice, bob, bob], rotating)[1:] == ["paused", "paused"]
    assert len(upstream.refreshes) == 1
    assert 28 < provider_health.may_ask(rotating.uid, timezone.now()) <= 31
    assert health(rotating).status is Status.PAUSED
    let_the_pause_end()
    assert outcome(bob, rotating) == "access-1"


@pytest.mark.threat("B08")
def test_another_process_keeps_the_time_as_well(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    make_expired(bob, rotating)
    upstream.answers = [(429, {}, {"Retry-After": "30"})]
    outcome(alice, rotating)
    name = str(connection.settings_dict["NAME"])
    command = [sys.executable, "-m", race_process.__name__, name, "connection", str(bob.pk), str(rotating.uid)]
    other = subprocess.run(command, input="go\n", capture_output=True, text=True, timeout=60, env=os.environ.copy())
    assert "cannot be refreshed now: paused" in other.stderr
    assert len(upstream.refreshes) == 1


@pytest.mark.threat("B08")
def test_the_scan_leaves_a_paused_provider_alone_and_no_other(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    other = factories.make_provider("other", base=upstream.base, client_secret_ref=rotating.client_secret_ref)
    make_due(alice, rotating)
    good = make_due(bob, other)
    now = timezone.now()
    ProviderHealth.objects.create(provider_uid=rotating.uid, paused_until=now + HOUR)
    assert scan.refresh_due() == {"refreshed": 1, "failed": 0}
    assert stored(good, "access_token") == "access-1"


def test_a_pause_stops_no_call_whose_token_still_works(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating, expires_at=timezone.now() + timedelta(minutes=1))
    ProviderHealth.objects.create(provider_uid=rotating.uid, paused_until=timezone.now() + HOUR)
    assert use(alice, rotating).access_token == "upstream-access"
    assert upstream.refreshes == []


# --- The circuit ------------------------------------------------------------------------------------------


@pytest.mark.threat("G11")
def test_an_outage_opens_the_circuit_within_ten_failures_and_is_alerted_once(
    superuser: User, settings: Any, tasks_run_here: None, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    settings.AIGW_EMAIL_FROM = "gateway@example.com"
    users = make_users(14, rotating)
    upstream.answers = [DOWN] * 20
    assert outcomes(users, rotating) == ["status_503"] * 10 + ["paused"] * 4
    assert len(upstream.refreshes) == 10
    assert health(rotating).status is Status.FAILING
    assert scan.refresh_due() == {"refreshed": 0, "failed": 0}
    for _ in range(3):
        let_the_pause_end()
        assert outcome(users[-1], rotating) == "status_503"
        VaultEntry.objects.update(retry_at=None)
    assert Event.objects.filter(action="provider.failing").count() == 1
    assert [(message.subject, message.to) for message in mail.outbox] == [
        ("Rotating is in trouble", ["root@example.com"])
    ]


@pytest.mark.threat("G11")
def test_one_probe_asks_and_its_success_lets_everyone_in(rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    users = make_users(12, rotating)
    upstream.answers = [DOWN] * 11
    upstream.rotates = False
    outcomes(users, rotating)
    upstream.delay_seconds = 0.2
    let_the_pause_end()
    waiting = users[10:]
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda user: outcome(user, rotating), waiting)) == ["paused", "status_503"]
    assert len(upstream.refreshes) == 11
    let_the_pause_end()
    VaultEntry.objects.filter(user_id=waiting[0].pk).update(retry_at=None)
    assert outcome(waiting[0], rotating) == "access-1"
    assert health(rotating).status is Status.OK
    assert outcomes(users[:10], rotating) == [f"access-{number}" for number in range(2, 12)]
    assert Event.objects.filter(action="provider.recovered").count() == 1


@pytest.mark.threat("G11")
def test_the_scan_probes_by_itself_and_then_renews_the_rest(
    rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    users = [factories.make_user(f"user-{number}") for number in range(6)]
    for user in users:
        make_due(user, rotating)
    upstream.rotates = False
    now = timezone.now()
    ProviderHealth.objects.create(
        provider_uid=rotating.uid, circuit_open_since=now - HOUR, paused_until=now, consecutive_failures=12
    )
    assert sum(scan.refresh_due()["refreshed"] for _ in range(2)) == 6
    assert len(upstream.refreshes) == 6
    assert health(rotating).status is Status.OK


@pytest.mark.threat("G11")
def test_an_outage_of_a_day_reaches_those_who_were_never_asked_for(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    now = timezone.now()
    ProviderHealth.objects.create(
        provider_uid=rotating.uid, circuit_open_since=now - 25 * HOUR, paused_until=now + HOUR
    )
    with pytest.raises(TokenExpired) as caught:
        use(alice, rotating)
    assert caught.value.detail == "upstream_error"
    assert upstream.refreshes == []


def test_failures_with_successes_between_them_open_nothing(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating)
    for _ in range(6):
        upstream.answers = [DOWN] * 3
        for _ in range(4):
            outcome(alice, rotating)
            let_time_pass(entry)
        VaultEntry.objects.update(expires_at=timezone.now() - HOUR)
    assert len(upstream.refreshes) == 24
    assert health(rotating).status is Status.OK


@pytest.mark.threat("B09")
def test_one_stalled_provider_leaves_threads_for_the_others(rotating: OAuthProvider, monkeypatch: Any) -> None:
    from connections import slots

    monkeypatch.setattr(slots, "MOST_PER_PROCESS", 2)
    with slots.taken(rotating.uid, patience_seconds=0), slots.taken(rotating.uid, patience_seconds=0) as second:
        assert second
        with slots.taken(rotating.uid, patience_seconds=60) as third:
            assert not third
    with slots.taken(rotating.uid, patience_seconds=0) as again:
        assert again


# --- Our own credentials ------------------------------------------------------------------------------------


def test_a_refused_client_is_shown_on_the_provider_and_on_no_connection(
    superuser: User, settings: Any, tasks_run_here: None, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    settings.AIGW_EMAIL_FROM = "gateway@example.com"
    users = make_users(5, rotating)
    upstream.answers = [(401, {"error": "invalid_client"}, {})] * 9
    assert outcomes(users, rotating) == ["invalid_client"] + ["paused"] * 4
    let_the_pause_end()
    assert outcome(users[3], rotating) == "invalid_client"
    assert len(upstream.refreshes) == 2
    assert (health(rotating).status, health(rotating).last_error) == (Status.CLIENT_REJECTED, "invalid_client")
    assert not VaultEntry.objects.exclude(attention_reason="", failing_since=None, failures=0).exists()
    assert Event.objects.filter(action="provider.client_rejected").count() == 1
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client"])
def test_a_new_secret_is_tried_at_once_and_clears_the_provider(
    error: str, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    upstream.answers = [(400, {"error": error}, {})]
    assert outcomes([alice, alice], rotating) == [error, "paused"]
    secret = Secret.objects.get(name=rotating.client_secret_ref)
    secret.value = sealing.seal(secret, "value", "s3cret-value")
    secret.save()
    assert outcome(alice, rotating) == "access-1"
    assert health(rotating).status is Status.OK
    assert not Event.objects.filter(action="connection.ended").exists()
