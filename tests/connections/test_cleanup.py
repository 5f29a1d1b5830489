from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from audit.models import Event
from connections import cleanup, tasks
from connections.cleanup import Collected
from connections.models import ConsentRequest, ProviderHealth, ProviderSlot
from connections.revocation import disconnect
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_refresh_once import all_at_once
from tests.fakes.rotating_provider import RotatingProvider
from vault.fields import Sealed
from vault.models import PendingRevocation, VaultEntry

BOTH = [("refresh_token", "upstream-refresh"), ("access_token", "upstream-access")]


def make_consent(state: str, minutes: int) -> ConsentRequest:
    return ConsentRequest.objects.create(
        state_digest=state,
        user_id=1,
        session_digest="s",
        provider_uid=ConsentRequest().uid,
        provider_fingerprint="f",
        expires_at=timezone.now() + timedelta(minutes=minutes),
    )


def test_an_orphan_of_a_deleted_provider_is_revoked_upstream_and_deleted(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    factories.bury(rotating)
    tasks.collect_orphans.apply()
    assert upstream.revoked == BOTH
    assert not VaultEntry.objects.exists()
    assert not PendingRevocation.objects.exists()
    assert not OAuthProvider.everything.exists()
    collected = Event.objects.get(action="cleanup.collected").data
    assert {kind: count for kind, count in collected.items() if count} == {"provider_gone": 1, "tombstones": 1}


@pytest.mark.threat("B17")
def test_a_tombstone_stays_until_its_last_token_is_revoked(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_status = 503
    factories.bury(rotating)
    assert cleanup.collect_orphans() == Collected(provider_gone=1)
    upstream.revocation_status = 200
    PendingRevocation.objects.update(try_at=timezone.now())
    tasks.retry_revocations.apply()
    assert cleanup.collect_orphans() == Collected(tombstones=1)
    assert upstream.revoked == BOTH * 2


@pytest.mark.threat("B17")
def test_a_tombstone_stays_while_an_answer_may_be_on_its_way(rotating: OAuthProvider) -> None:
    rotating.delete()
    assert cleanup.collect_orphans() == Collected()
    factories.bury(rotating)
    assert cleanup.collect_orphans() == Collected(tombstones=1)


def test_how_a_provider_fared_goes_with_its_tombstone(rotating: OAuthProvider) -> None:
    other = factories.make_provider("other")
    for provider in (rotating, other):
        ProviderHealth.objects.create(provider_uid=provider.uid, consecutive_failures=1)
        ProviderSlot.objects.create(provider_uid=provider.uid, number=0)
    rotating.delete()
    cleanup.collect_orphans()
    assert ProviderHealth.objects.count() == 2, "an answer may be on its way"
    factories.bury(rotating)
    cleanup.collect_orphans()
    left = [model.objects.get().provider_uid for model in (ProviderHealth, ProviderSlot)]
    assert left == [other.uid, other.uid]


@pytest.mark.threat("B19")
@pytest.mark.parametrize("departure", ["deactivated", "deleted"])
def test_a_departed_users_entries_are_revoked_and_deleted(
    departure: str, alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    bobs = factories.make_vault_entry(bob, rotating, access_token="bobs", refresh_token="bobs-refresh")
    if departure == "deleted":
        alice.delete()
    else:
        alice.is_active = False
        alice.save()
    tasks.collect_orphans.apply()
    assert upstream.revoked == BOTH
    assert list(VaultEntry.objects.all()) == [bobs]


@pytest.mark.threat("A19")
def test_an_entry_whose_provider_left_no_trace_is_deleted(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    rotating.erase()
    assert cleanup.collect_orphans().entries == 1
    assert not VaultEntry.objects.exists()
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("C03")
def test_a_row_that_does_not_open_is_collected_with_the_others(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    damaged = factories.make_vault_entry(bob, rotating)
    factories.make_vault_entry(alice, rotating)
    VaultEntry.objects.filter(pk=damaged.pk).update(access_token=Sealed(b"x"), refresh_token=Sealed(b"x"))
    User.objects.update(is_active=False)
    assert cleanup.collect_orphans().entries == 2
    assert upstream.revoked == BOTH


def test_a_run_is_bounded(alice: User, rotating: OAuthProvider, settings: Any) -> None:
    settings.VAULT_SCAN_BATCH = 2
    for number in range(3):
        VaultEntry.objects.create(user_id=-number, provider_uid=rotating.uid, connected_at=timezone.now())
    assert [cleanup.collect_orphans().entries for _ in range(3)] == [2, 1, 0]


def test_abandoned_consents_go_and_current_ones_stay(db: None) -> None:
    make_consent("old", minutes=-1)
    current = make_consent("current", minutes=1)
    assert cleanup.collect_orphans().consents == 1
    assert list(ConsentRequest.objects.all()) == [current]


def test_with_nothing_to_do_nothing_is_written(alice: User, rotating: OAuthProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    assert cleanup.collect_orphans() == Collected()
    assert not Event.objects.exists()


@pytest.mark.threat("B20", "B21")
@pytest.mark.django_db(transaction=True)
def test_many_runs_at_once_collect_each_thing_once(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    rotating.delete()
    runs = all_at_once(cleanup.collect_orphans)
    assert sum(run.entries for run in runs) == 1
    assert upstream.revoked == BOTH
    assert Event.objects.filter(action="connection.collected").count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_disconnects_at_once_revoke_once(alice: User, rotating: OAuthProvider, upstream: RotatingProvider) -> None:
    factories.make_vault_entry(alice, rotating)
    outcomes = all_at_once(lambda: disconnect(alice.pk, rotating.uid, reason="test", actor=alice))
    assert outcomes.count("revoked") == 1
    assert upstream.revoked == BOTH
    assert not connection.in_atomic_block
