from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from connections import freshness
from connections.freshness import Action
from vault.fields import Sealed
from vault.models import VaultEntry

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def make_entry(**fields: Any) -> VaultEntry:
    defaults: dict[str, Any] = {
        "user_id": 1,
        "provider_uid": UUID(int=1),
        "provider_fingerprint": "same",
        "access_token": Sealed(b"a"),
        "refresh_token": Sealed(b"r"),
        "scopes_granted": ["read"],
        "connected_at": NOW - HOUR,
        "expires_at": NOW + HOUR,
    }
    return VaultEntry(**{**defaults, **fields})


def judge(entry: VaultEntry | None, **wanted: Any) -> freshness.Verdict:
    return freshness.judge(entry, **{"scopes": ["read"], "fingerprint": "same", "now": NOW, **wanted})


def test_no_entry_asks_to_connect() -> None:
    assert judge(None).action is Action.CONNECT


@pytest.mark.threat("A18")
def test_a_changed_provider_cuts_its_entries_off() -> None:
    assert judge(make_entry(), fingerprint="other").action is Action.CONNECT


@pytest.mark.parametrize(
    ("reason", "detail"),
    [("invalid_grant", "invalid_grant"), ("lost_rotation", "lost_rotation"), ("something_else", "invalid_grant")],
)
def test_a_wiped_entry_says_why(reason: str, detail: str) -> None:
    verdict = judge(make_entry(access_token=None, refresh_token=None, attention_reason=reason))
    assert (verdict.action, verdict.detail) == (Action.EXPIRED, detail)


def test_missing_scopes_are_named_before_anything_is_refreshed() -> None:
    verdict = judge(make_entry(expires_at=NOW - HOUR), scopes=["write", "read", "admin"])
    assert (verdict.action, verdict.missing) == (Action.SCOPES, ("admin", "write"))


def test_a_good_token_is_used() -> None:
    assert judge(make_entry()).action is Action.USE


@pytest.mark.threat("B13")
def test_a_token_without_expiry_is_used_until_it_is_rejected() -> None:
    entry = make_entry(expires_at=None)
    assert judge(entry).action is Action.USE
    assert judge(entry, rejected_generation=entry.generation).action is Action.REFRESH


def test_a_rejected_token_that_cannot_be_refreshed_has_ended() -> None:
    verdict = judge(make_entry(refresh_token=None), rejected_generation=1)
    assert (verdict.action, verdict.detail) == (Action.EXPIRED, "upstream_rejected")


def test_the_rejection_of_an_older_generation_is_old_news() -> None:
    assert judge(make_entry(generation=2), rejected_generation=1).action is Action.USE


@pytest.mark.threat("B15")
def test_a_refresh_comes_earlier_than_a_clock_can_be_wrong() -> None:
    verdict = judge(make_entry(expires_at=NOW + timedelta(seconds=130)))
    assert (verdict.action, verdict.still_valid) == (Action.REFRESH, True)


def test_a_short_lived_token_is_not_due_as_soon_as_it_is_made() -> None:
    entry = make_entry(refreshed_at=NOW, expires_at=NOW + timedelta(seconds=8))
    assert judge(entry).action is Action.USE
    assert judge(entry, now=NOW + timedelta(seconds=5)).action is Action.REFRESH


@pytest.mark.parametrize(
    ("fields", "detail"),
    [({"refresh_token": None}, "no_refresh_token"), ({"refresh_token_expires_at": NOW}, "idle")],
)
def test_what_cannot_be_refreshed_is_used_to_its_end(fields: dict[str, Any], detail: str) -> None:
    verdict = judge(make_entry(expires_at=NOW, **fields))
    assert (verdict.action, verdict.detail) == (Action.EXPIRED, detail)
    assert judge(make_entry(expires_at=NOW + timedelta(seconds=1), **fields)).action is Action.USE


@pytest.mark.threat("B07")
def test_nobody_asks_while_the_provider_is_left_alone() -> None:
    backing_off = {"retry_at": NOW + timedelta(seconds=1), "failing_since": NOW - HOUR}
    assert judge(make_entry(expires_at=NOW, **backing_off)).action is Action.WAIT
    assert judge(make_entry(expires_at=NOW + timedelta(seconds=9), **backing_off)).still_valid


def test_after_a_day_of_failures_the_user_is_told() -> None:
    failing = {"retry_at": NOW + timedelta(seconds=1), "failing_since": NOW - 24 * HOUR}
    verdict = judge(make_entry(expires_at=NOW, **failing))
    assert (verdict.action, verdict.detail) == (Action.EXPIRED, "upstream_error")
