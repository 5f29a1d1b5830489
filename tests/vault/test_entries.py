from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from changes import counter
from providers.models import OAuthProvider
from tests import factories
from vault import entries
from vault.entries import Tokens
from vault.models import PendingRevocation, VaultEntry
from vault.sealing import open_sealed

MINUTE = timedelta(minutes=1)
NEW = Tokens("new-access", "new-refresh", None, None, ["read"])


@pytest.fixture
def provider(db: None) -> OAuthProvider:
    return factories.make_provider()


def store(user: User, provider: OAuthProvider, **fields: Any) -> VaultEntry:
    defaults: dict[str, Any] = {
        "user_id": user.pk,
        "provider_uid": provider.uid,
        "fingerprint": provider.fingerprint(),
        "tokens": NEW,
        "scopes_requested": ["read"],
        "account": "alice@upstream",
        "now": timezone.now(),
    }
    return entries.store(**{**defaults, **fields})


def test_a_first_consent_is_stored_and_announced(alice: User, provider: OAuthProvider) -> None:
    before = counter.current()
    entry = store(alice, provider)
    assert open_sealed(entry, "access_token") == "new-access"
    assert entry == entries.find(alice.pk, provider.uid)
    assert counter.current() > before


def test_a_new_consent_takes_the_place_of_everything(alice: User, provider: OAuthProvider) -> None:
    now = timezone.now()
    old = factories.make_vault_entry(
        alice,
        provider,
        lease_holder="busy",
        lease_until=now + MINUTE,
        failures=3,
        retry_at=now + MINUTE,
        failing_since=now,
        attention_reason="invalid_grant",
        refresh_token_expires_at=now,
    )
    entry = store(alice, provider, tokens=Tokens("new-access", None, None, None, ["read"]))
    assert (entry.pk, entry.generation) == (old.pk, old.generation + 1)
    assert (entry.refresh_token, entry.refresh_token_expires_at) == (None, None)
    assert (entry.lease_holder, entry.lease_until) == ("", None)
    assert (entry.failures, entry.retry_at, entry.failing_since, entry.attention_reason) == (0, None, None, "")


def test_one_claim_wins(alice: User, provider: OAuthProvider) -> None:
    entry, now = factories.make_vault_entry(alice, provider), timezone.now()
    claims = [entries.claim(entry, holder=name, now=now, lease_seconds=45) for name in "abc"]
    assert claims == [True, False, False]


def test_a_lapsed_claim_can_be_taken_over_once(alice: User, provider: OAuthProvider) -> None:
    now = timezone.now()
    entry = factories.make_vault_entry(alice, provider, lease_holder="dead", lease_until=now)
    assert [entries.claim(entry, holder=name, now=now, lease_seconds=45) for name in "ab"] == [True, False]


@pytest.mark.threat("B02")
def test_both_tokens_are_written_in_one_statement(alice: User, provider: OAuthProvider) -> None:
    entry = factories.make_vault_entry(alice, provider, lease_holder="me")
    with_both = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("UPDATE"):
            with_both.append("access_token" in sql and "refresh_token" in sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        assert entries.replace(entry, tokens=NEW, now=timezone.now())
    assert with_both == [True]


def test_whoever_comes_after_another_write_changes_nothing(alice: User, provider: OAuthProvider) -> None:
    entry, now = factories.make_vault_entry(alice, provider, lease_holder="me"), timezone.now()
    VaultEntry.objects.filter(pk=entry.pk).update(generation=2)
    assert not entries.replace(entry, tokens=NEW, now=now)
    assert not entries.wipe(entry, reason="invalid_grant", now=now)
    assert not entries.heal(entry, tokens=NEW, now=now)
    assert not entries.keep_spare(entry, refresh_token="spare")
    entries.release(entry, holder="me")
    current = VaultEntry.objects.get(pk=entry.pk)
    assert open_sealed(current, "access_token") == "upstream-access"
    assert (current.lease_holder, current.spare_refresh_token) == ("me", None)


def test_a_lapsed_lease_stops_nobody_from_writing_what_the_provider_gave(alice: User, provider: OAuthProvider) -> None:
    entry, now = factories.make_vault_entry(alice, provider, lease_holder="me"), timezone.now()
    VaultEntry.objects.filter(pk=entry.pk).update(lease_holder="other", lease_until=now)
    assert entries.replace(entry, tokens=NEW, now=now)
    assert VaultEntry.objects.get(pk=entry.pk).lease_holder == ""


def test_a_spare_is_not_wiped_unseen_and_is_retired_with_the_rest(alice: User, provider: OAuthProvider) -> None:
    entry, now = factories.make_vault_entry(alice, provider), timezone.now()
    assert entries.keep_spare(entry, refresh_token="spare")
    assert not entries.wipe(entry, reason="invalid_grant", now=now)
    entries.retire(entry, reason="test", now=now)
    kept = [open_sealed(pending, "refresh_token") for pending in PendingRevocation.objects.order_by("pk")]
    assert sorted(kept, key=str) == ["spare", "upstream-refresh"]


def test_nobody_claims_before_the_wait_is_over(alice: User, provider: OAuthProvider) -> None:
    now = timezone.now()
    entry = factories.make_vault_entry(alice, provider)
    VaultEntry.objects.update(retry_at=now + timedelta(minutes=1))
    assert not entries.claim(entry, holder="a", now=now, lease_seconds=45)


def test_wiping_keeps_row_reason_and_scopes(alice: User, provider: OAuthProvider) -> None:
    entry = factories.make_vault_entry(alice, provider)
    assert entries.wipe(entry, reason="invalid_grant", now=timezone.now())
    entry.refresh_from_db()
    assert (entry.access_token, entry.refresh_token, entry.refresh_due_at) == (None, None, None)
    assert (entry.attention_reason, entry.scopes_granted) == ("invalid_grant", ["read"])


def test_retiring_moves_the_tokens_out_of_reach(alice: User, provider: OAuthProvider) -> None:
    entry = factories.make_vault_entry(alice, provider)
    pending = entries.retire(entry, reason="test", now=timezone.now())
    assert pending is not None
    kept = PendingRevocation.objects.get(pk=pending.pk)
    assert open_sealed(kept, "refresh_token") == "upstream-refresh"
    assert kept.provider_fingerprint == entry.provider_fingerprint
    assert entries.find(alice.pk, provider.uid) is None
    assert entries.retire(entry, reason="test", now=timezone.now()) is None


@pytest.mark.parametrize(("lifetime", "earliest", "latest"), [(8, 4, 4), (600, 300, 300), (3600, 2700, 3000)])
def test_renewal_is_due_ahead_of_time_but_never_in_the_first_half(lifetime: int, earliest: int, latest: int) -> None:
    now = timezone.now()
    due = [entries.due_at(now + timedelta(seconds=lifetime), now) for _ in range(20)]
    waits = [(at - now).total_seconds() for at in due if at]
    assert len(waits) == 20
    assert earliest <= min(waits) <= max(waits) <= latest


def test_without_an_expiry_nothing_is_due(alice: User, provider: OAuthProvider) -> None:
    assert store(alice, provider).refresh_due_at is None
    assert store(alice, provider, provider_uid=uuid4()).refresh_due_at is None
