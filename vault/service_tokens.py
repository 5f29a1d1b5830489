"""Keep, claim, replace and drop the tokens of service accounts. No HTTP, no lock that outlives a statement.

As in `vault.entries`, every write names the generation that its writer saw: whoever comes late changes nothing.
"""

import copy
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from changes import counter
from vault import entries
from vault.models import NOBODY, PendingRevocation, ServiceToken
from vault.sealing import Unreadable, open_sealed, seal

_NO_LEASE: dict[str, Any] = {"lease_holder": "", "lease_until": None}
_HEALTHY: dict[str, Any] = {
    "retry_at": None,
    "failures": 0,
    "failing_since": None,
    "last_error": "",
    "is_refused": False,
}
_NO_TOKEN: dict[str, Any] = {
    "access_token": None,
    "expires_at": None,
    "obtained_at": None,
    "refresh_due_at": None,
    "rejected_at": None,
}


def row_of(server_uid: UUID) -> ServiceToken:
    """Return the server's row, made when there is none."""
    return ServiceToken.objects.get_or_create(server_uid=server_uid)[0]


def belong(row: ServiceToken, *, fingerprint: str, provider_uid: UUID | None, provider_fingerprint: str) -> bool:
    """Make an empty row, or one whose token came from elsewhere, that of `fingerprint`; False when it has changed.

    What it held is dropped, and kept for revocation only.
    """
    with transaction.atomic():
        current = _unchanged(row).select_for_update().first()
        if current is None:
            return False
        _keep_for_revocation(current, "service_account_changed")
        _unchanged(current).update(
            **_NO_TOKEN,
            **_NO_LEASE,
            **_HEALTHY,
            fingerprint=fingerprint,
            provider_uid=provider_uid,
            provider_fingerprint=provider_fingerprint,
            generation=F("generation") + 1,
        )
        if current.access_token is not None:
            counter.announce()
    return True


def drop(server_uid: UUID, *, reason: str) -> bool:
    """Forget a server's token everywhere; False when there was no row."""
    with transaction.atomic():
        current = ServiceToken.objects.select_for_update().filter(server_uid=server_uid).first()
        if current is None:
            return False
        _keep_for_revocation(current, reason)
        current.delete()
        counter.announce()
    return True


def claim(row: ServiceToken, *, holder: str, now: datetime, lease_seconds: float) -> bool:
    """Take the lease on `row` as it was read; at most one of all who try gets it, and nobody before `retry_at`."""
    free = Q(lease_until__isnull=True) | Q(lease_until__lte=now)
    at_rest = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    rows = _unchanged(row).filter(free, at_rest, lease_holder=row.lease_holder)
    return bool(rows.update(lease_holder=holder, lease_until=now + timedelta(seconds=lease_seconds)))


def end_wait(server_uid: UUID) -> None:
    """Let an account that was refused be tried again at once: someone says that it is right now."""
    ServiceToken.objects.filter(server_uid=server_uid, is_refused=True).update(retry_at=None)


def release(row: ServiceToken, *, holder: str) -> None:
    """Give the lease back; nobody was asked."""
    _unchanged(row).filter(lease_holder=holder).update(**_NO_LEASE)


def release_failed(
    row: ServiceToken, *, holder: str, now: datetime, retry_at: datetime, why: str, is_refused: bool
) -> None:
    """Give the lease back after a failure: nobody is to try again before `retry_at`."""
    _unchanged(row).filter(lease_holder=holder).update(
        **_NO_LEASE,
        retry_at=retry_at,
        failures=F("failures") + 1,
        failing_since=row.failing_since or now,
        last_error=why[:64],
        is_refused=is_refused,
    )


def replace(
    row: ServiceToken, *, access_token: str, expires_at: datetime | None, now: datetime, is_after_rejection: bool
) -> ServiceToken | None:
    """Put a new token in place; None, and nothing written, when the row is gone or someone else has written."""
    values = {
        **_NO_LEASE,
        **_HEALTHY,
        "access_token": seal(row, "access_token", access_token),
        "expires_at": expires_at,
        "obtained_at": now,
        "refresh_due_at": entries.due_at(expires_at, now),
        "rejected_at": now if is_after_rejection else row.rejected_at,
    }
    if not _unchanged(row).update(**values, generation=F("generation") + 1):
        return None
    written = copy.copy(row)
    for name, value in {**values, "generation": row.generation + 1}.items():
        setattr(written, name, value)
    return written


def keep_for_revocation(row: ServiceToken, access_token: str, *, reason: str) -> None:
    """Keep a token until the provider that `row` named has been told; without one there is nobody to tell."""
    if row.provider_uid is None:
        return
    pending = PendingRevocation(
        user_id=NOBODY,
        provider_uid=row.provider_uid,
        provider_fingerprint=row.provider_fingerprint,
        reason=reason,
        try_at=timezone.now(),
    )
    pending.access_token = seal(pending, "access_token", access_token)
    pending.save()


def _keep_for_revocation(row: ServiceToken, reason: str) -> None:
    try:
        access_token = open_sealed(row, "access_token")
    except Unreadable:
        return
    if access_token:
        keep_for_revocation(row, access_token, reason=reason)


def _unchanged(row: ServiceToken) -> QuerySet[ServiceToken]:
    return ServiceToken.objects.filter(pk=row.pk, generation=row.generation)
