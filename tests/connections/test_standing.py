"""How the vault stands: what is due, what waits, what is well; counted, whoever it belongs to."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connections import standing
from connections.models import ProviderHealth, ProviderSlot
from providers.models import OAuthProvider
from tests import factories
from vault.models import PendingRevocation

MINUTE = timedelta(minutes=1)


@pytest.fixture
def github(db: None) -> OAuthProvider:
    return factories.make_provider()


def read() -> dict[str, Any]:
    return {reading.name: reading.values for reading in standing.readings()}


def test_nothing_is_nothing(db: None) -> None:
    found = read()
    assert found["aigw_vault_entries"] == {"connected": 0, "renewal_failing": 0, "needs_attention": 0}
    assert found["aigw_due_entries"] == found["aigw_due_oldest_seconds"] == {"": 0}
    assert found["aigw_providers_in_trouble"] == {"paused": 0, "failing": 0, "client_rejected": 0}


def test_entries_by_status(github: OAuthProvider) -> None:
    now = timezone.now()
    kinds: list[dict[str, Any]] = [
        {},
        {"failing_since": now},
        {"attention_reason": "invalid_grant", "access_token": "", "refresh_token": ""},
        {"attention_reason": "upstream_error", "failing_since": now},
        {"refresh_token": "", "expires_at": now - MINUTE},
        {"refresh_token": "", "expires_at": now + MINUTE},
    ]
    for number, fields in enumerate(kinds):
        fields = {name: value or None if name.endswith("token") else value for name, value in fields.items()}
        factories.make_vault_entry(factories.make_user(f"user{number}"), github, **fields)
    assert read()["aigw_vault_entries"] == {"connected": 2, "renewal_failing": 1, "needs_attention": 3}
    reasons = {"invalid_grant": 1, "upstream_error": 1, "no_refresh_token": 1}
    assert standing.attention_by_reason(now) == reasons


def test_what_is_due_and_since_when(alice: User, bob: User, github: OAuthProvider) -> None:
    now = timezone.now()
    factories.make_vault_entry(alice, github, refresh_due_at=now - 3 * MINUTE)
    factories.make_vault_entry(bob, github, refresh_due_at=now + MINUTE)
    found = read()
    assert found["aigw_due_entries"] == {"": 1}
    assert 180 <= found["aigw_due_oldest_seconds"][""] < 190


def test_what_a_provider_in_trouble_holds_up_is_no_backlog(alice: User, github: OAuthProvider) -> None:
    now = timezone.now()
    factories.make_vault_entry(alice, github, refresh_due_at=now - 60 * MINUTE)
    ProviderHealth.objects.create(provider_uid=github.uid, circuit_open_since=now, paused_until=now + MINUTE)
    found = read()
    assert (found["aigw_due_entries"], found["aigw_waiting_entries"]) == ({"": 0}, {"": 1})
    assert found["aigw_providers_in_trouble"]["failing"] == 1
    assert standing.backlog(now).waiting == {github.uid: 1}


def test_a_disabled_provider_has_no_backlog(alice: User, github: OAuthProvider) -> None:
    factories.make_vault_entry(alice, github, refresh_due_at=timezone.now() - MINUTE)
    OAuthProvider.objects.update(enabled=False)
    found = read()
    assert (found["aigw_due_entries"], found["aigw_waiting_entries"]) == ({"": 0}, {"": 0})


def test_revocations_and_requests_under_way(alice: User, github: OAuthProvider) -> None:
    now = timezone.now()
    for attempts in (0, 2):
        row = {"user_id": alice.pk, "provider_uid": github.uid, "reason": "x", "try_at": now, "attempts": attempts}
        PendingRevocation.objects.create(**row)
    ProviderSlot.objects.create(provider_uid=github.uid, number=0, held_until=now + MINUTE)
    ProviderSlot.objects.create(provider_uid=github.uid, number=1, held_until=now - MINUTE)
    found = read()
    assert (found["aigw_revocations_pending"], found["aigw_requests_in_flight"]) == ({"": 2}, {"": 1})
    assert standing.revocations().again == 1


def test_the_number_of_queries_does_not_grow(github: OAuthProvider) -> None:
    from django.db import connection

    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            read()
        return len(caught)

    few = queries()
    for number in range(10):
        provider = factories.make_provider(f"more-{number}")
        ProviderHealth.objects.create(provider_uid=provider.uid, circuit_open_since=timezone.now())
        factories.make_vault_entry(factories.make_user(f"user{number}"), provider, refresh_due_at=timezone.now())
    assert queries() <= few + 1, "one for the health of those that have a row"
    assert few <= 12
