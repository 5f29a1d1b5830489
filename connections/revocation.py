"""The only way a connection ends on purpose: unusable here at once, then the provider is told (RFC 7009).

The tokens move, in one transaction, from the entry to a PendingRevocation, which no call can use. The page is
answered after one try; what could not be told is told later, a limited number of times. What one try is, is for
`connections.telling`.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit import trail
from connections import stopping
from connections.telling import Outcome, tell_provider
from providers.models import OAuthProvider
from vault import entries
from vault.models import PendingRevocation, VaultEntry

__all__ = [
    "Outcome",
    "Retired",
    "disconnect",
    "disconnect_all",
    "retire_all",
    "retry_revocations",
    "tell",
    "tell_provider",
    "tell_within",
]
RUN_SECONDS = 120.0
# Whoever ended a connection tells its provider; the scheduled task leaves it alone for so long.
HEAD_START = timedelta(seconds=60)
# How long someone who ends many connections waits for their providers; the rest is told in the background.
TELL_SECONDS = 20.0
ROWS_PER_TRANSACTION = 50


@dataclass(frozen=True, slots=True)
class Retired:
    """A connection that has just become unusable. `pending` is None when it held nothing that could be revoked."""

    provider_uid: UUID
    provider_name: str
    had_tokens: bool
    pending: PendingRevocation | None


def disconnect(user_id: int, provider_uid: UUID, *, reason: str, actor: User | None) -> Outcome:
    """End the user's connection, then tell the provider; an entry that held no token any more is `not_connected`."""
    mine = VaultEntry.objects.filter(user_id=user_id, provider_uid=provider_uid)
    retired = retire_all(mine, reason=reason, actor=actor, tell_at=timezone.now() + HEAD_START)
    return tell(retired[0]) if retired else Outcome.NOT_CONNECTED


def disconnect_all(rows: QuerySet[VaultEntry], *, reason: str, actor: User | None) -> int:
    """End all these connections, some at a time; the providers are told in the background. Return how many ended."""
    pks, ended = list(rows.order_by("pk").values_list("pk", flat=True)), 0
    for start in range(0, len(pks), ROWS_PER_TRANSACTION):
        some = VaultEntry.objects.filter(pk__in=pks[start : start + ROWS_PER_TRANSACTION])
        ended += len(retire_all(some, reason=reason, actor=actor, tell_at=timezone.now()))
    return ended


def retire_all(
    rows: QuerySet[VaultEntry],
    *,
    reason: str,
    actor: User | None = None,
    action: str = "connection.disconnected",
    tell_at: datetime,
) -> list[Retired]:
    """Take the tokens of a few rows out of everyone's reach in one transaction, each recorded as `action`.

    What somebody else ended first is left out. All rows are locked before the change counter is, in the order that
    every writer of tokens keeps.
    """
    with transaction.atomic():
        found = list(rows.order_by("pk").select_for_update())
        names = provider_names({entry.provider_uid for entry in found})
        return [_retire(entry, names, reason, actor, action, tell_at) for entry in found]


def tell(retired: Retired) -> Outcome:
    """Tell the provider of a connection that has just ended what can be told."""
    if retired.pending is None:
        return Outcome.FAILED if retired.had_tokens else Outcome.NOT_CONNECTED
    return tell_provider(retired.pending)


def tell_within(retired: Iterable[Retired], seconds: float) -> list[tuple[str, Outcome]]:
    """Tell one provider after the other; return names and outcomes. What is left after so long waits for the task."""
    ends = time.monotonic() + seconds
    return [
        (each.provider_name, Outcome.PENDING if each.pending and time.monotonic() > ends else tell(each))
        for each in retired
    ]


def retry_revocations() -> dict[str, int]:
    """Tell the providers what is due, in bounded time; return how often each outcome came about.

    A provider that does not answer is left alone for the rest of the run.
    """
    counts: dict[str, int] = {}
    silent: set[UUID] = set()
    ends = time.monotonic() + RUN_SECONDS
    for _ in range(settings.VAULT_SCAN_BATCH):
        pending = _next_due(timezone.now(), silent)
        if pending is None or time.monotonic() > ends or stopping.is_asked():
            break
        outcome = tell_provider(pending)
        counts[outcome] = counts.get(outcome, 0) + 1
        if outcome is Outcome.PENDING:
            silent.add(pending.provider_uid)
    return counts


def _next_due(now: datetime, silent: set[UUID]) -> PendingRevocation | None:
    due = PendingRevocation.objects.filter(try_at__lte=now).exclude(provider_uid__in=silent)
    return due.order_by("try_at", "pk").first()


def _retire(
    entry: VaultEntry, names: Mapping[UUID, str], reason: str, actor: User | None, action: str, tell_at: datetime
) -> Retired:
    name = names.get(entry.provider_uid, str(entry.provider_uid))
    pending = entries.retire(entry, reason=reason, now=tell_at)
    trail.record(action, actor=actor, target_type="connection", target=name, user_id=entry.user_id, reason=reason)
    return Retired(entry.provider_uid, name, entry.access_token is not None, pending)


def provider_names(uids: Collection[UUID]) -> dict[UUID, str]:
    """Return the names of providers, deleted ones included."""
    return dict(OAuthProvider.everything.filter(uid__in=uids).values_list("uid", "name"))
