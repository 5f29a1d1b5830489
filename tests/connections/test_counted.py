"""What is counted where it happens: renewals, waits, revocations, consents, values that do not open."""

import contextlib
import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from connections import refresh, revocation, scan
from connections.errors import TokenError
from metrics import catalog
from metrics.instruments import Instrument, events
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_refresh import make_expired, use
from tests.fakes.rotating_provider import RotatingProvider
from vault import sealing
from vault.models import Secret, VaultEntry


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    for instrument in (*catalog.KEPT, catalog.lease_waiters, catalog.refresh_seconds):
        instrument.reset()


def counted(instrument: Instrument) -> dict[str, float]:
    """Return the series in which something was counted."""
    found = {",".join(labels): events(instrument, numbers) for labels, numbers in instrument.snapshot().items()}
    return {label: count for label, count in found.items() if count}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (None, "renewed"),
        ((400, {"error": "invalid_grant"}, {}), "rejected"),
        ((400, {"error": "invalid_request"}, {}), "refused"),
        ((401, {"error": "invalid_client"}, {}), "client_refused"),
        ((429, {}, {"Retry-After": "600"}), "throttled"),
        ((503, {}, {}), "unavailable"),
        ((200, {"nonsense": True}, {}), "unavailable"),
    ],
)
def test_a_renewal_is_counted_once_by_its_result(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, answer: Any, result: str
) -> None:
    make_expired(alice, rotating)
    upstream.answers = [answer] if answer else []
    with contextlib.suppress(TokenError):
        use(alice, rotating)
    assert counted(catalog.refreshes) == {result: 1}
    assert counted(catalog.refresh_seconds) == {"": 1}


def test_a_rotation_that_nobody_heard_of(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    make_expired(alice, rotating, lease_holder="someone who died")
    upstream.live.clear()
    with pytest.raises(TokenError):
        use(alice, rotating)
    assert counted(catalog.refreshes) == {"lost_rotation": 1}


def test_what_is_never_sent(alice: User, bob: User, rotating: OAuthProvider) -> None:
    make_expired(alice, rotating)
    make_expired(bob, rotating)
    VaultEntry.objects.filter(user_id=bob.pk).update(
        refresh_token=VaultEntry.objects.get(user_id=alice.pk).access_token
    )
    with pytest.raises(TokenError):
        use(bob, rotating)
    Secret.objects.all().delete()
    with pytest.raises(TokenError):
        use(alice, rotating)
    assert counted(catalog.refreshes) == {"unreadable": 1, "secret_missing": 1}
    assert counted(catalog.decrypt_failures) == {"vaultentry": 1}
    assert counted(catalog.refresh_seconds) == {}


@pytest.mark.django_db(transaction=True)
def test_those_who_wait_for_another_are_timed(rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    alice = factories.make_user("alice")
    entry = make_expired(alice, rotating)

    def renew() -> None:
        try:
            refresh.renewed(entry, rotating)
        finally:
            connection.close()

    threads = [threading.Thread(target=renew) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waits = counted(catalog.lease_waits)
    assert counted(catalog.refreshes) == {"renewed": 1}
    assert sum(waits.values()) <= 4
    assert catalog.lease_waiters.snapshot() == {(): [0]}


def test_a_scan_is_timed(alice: User, rotating: OAuthProvider) -> None:
    scan.refresh_due()
    assert counted(catalog.scan_seconds) == {"": 1}


def test_a_revocation_is_counted(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    OAuthProvider.objects.update(revocation_endpoint="")
    rotating.refresh_from_db()
    VaultEntry.objects.update(provider_fingerprint=rotating.fingerprint())
    revocation.disconnect(alice.pk, rotating.uid, reason="test", actor=alice)
    assert counted(catalog.revocations) == {"unsupported": 1}


@pytest.mark.threat("H06")
def test_what_a_caller_sends_sealed_is_no_decrypt_failure() -> None:
    with pytest.raises(sealing.Unreadable):
        sealing.open_text("state", "made up", max_age_seconds=60)
    assert counted(catalog.decrypt_failures) == {}
