"""The only way a connection ends on purpose: unusable here at once, then the provider is told (RFC 7009).

The tokens move, in one transaction, from the entry to a PendingRevocation, which no call can use. The page is
answered after one try; what could not be told is told later, a limited number of times.
"""

import time
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from audit import trail
from connections import backoff, database
from providers import oauth2
from providers.models import OAuthProvider
from providers.oauth2 import Revoked
from providers.registered import registered_client
from vault import entries
from vault.models import PendingRevocation
from vault.sealing import Unreadable, open_sealed
from vault.secrets import SecretNotFound

RUN_SECONDS = 120.0


class Outcome(StrEnum):
    """What became of the tokens at the provider; here they are gone in every case (contract §4)."""

    REVOKED = "revoked"
    UNSUPPORTED = "unsupported"
    PENDING = "pending"
    FAILED = "failed"
    NOT_CONNECTED = "not_connected"


def disconnect(user_id: int, provider_uid: UUID, *, reason: str, actor: User | None) -> Outcome:
    """End the user's connection, then tell the provider; an entry that held no token any more is `not_connected`."""
    entry, now = entries.find(user_id, provider_uid), timezone.now()
    if entry is None:
        return Outcome.NOT_CONNECTED
    had_tokens = entry.access_token is not None
    with transaction.atomic():
        pending = entries.retire(entry, reason=reason, now=now)
        trail.record(
            "connection.disconnected",
            actor=actor,
            target_type="connection",
            target=_name(provider_uid),
            user_id=user_id,
            reason=reason,
        )
    if pending is None:
        return Outcome.FAILED if had_tokens else Outcome.NOT_CONNECTED
    return tell_provider(pending)


def retry_revocations() -> dict[str, int]:
    """Tell the providers what is due, in bounded time; return how often each outcome came about.

    A provider that does not answer is left alone for the rest of the run.
    """
    counts: dict[str, int] = {}
    silent: set[UUID] = set()
    ends = time.monotonic() + RUN_SECONDS
    for _ in range(settings.VAULT_SCAN_BATCH):
        pending = _next_due(timezone.now(), silent)
        if pending is None or time.monotonic() > ends:
            break
        outcome = tell_provider(pending)
        counts[outcome] = counts.get(outcome, 0) + 1
        if outcome is Outcome.PENDING:
            silent.add(pending.provider_uid)
    return counts


def tell_provider(pending: PendingRevocation) -> Outcome:
    """Try once. Before the request the next try is set, so that a crash loses nothing and nobody tries at once."""
    now = timezone.now()
    if not _claim(pending, now):
        return Outcome.PENDING
    provider = OAuthProvider.everything.filter(uid=pending.provider_uid).first()
    outcome, why = _told(pending, provider)
    if outcome is Outcome.PENDING and pending.attempts + 1 >= settings.VAULT_REVOCATION_ATTEMPTS:
        outcome = Outcome.FAILED
    with transaction.atomic():
        if outcome is not Outcome.PENDING:
            PendingRevocation.objects.filter(pk=pending.pk).delete()
        trail.record(
            "connection.revocation",
            target_type="connection",
            target=provider.name if provider else str(pending.provider_uid),
            result=trail.FAILED if outcome in (Outcome.PENDING, Outcome.FAILED) else trail.OK,
            user_id=pending.user_id,
            outcome=outcome.value,
            why=why,
            attempt=pending.attempts + 1,
        )
    return outcome


def _next_due(now: datetime, silent: set[UUID]) -> PendingRevocation | None:
    due = PendingRevocation.objects.filter(try_at__lte=now).exclude(provider_uid__in=silent)
    return due.order_by("try_at", "pk").first()


def _claim(pending: PendingRevocation, now: datetime) -> bool:
    attempts = pending.attempts + 1
    delay = timedelta(seconds=backoff.revocation_delay_seconds(attempts))
    seen = PendingRevocation.objects.filter(pk=pending.pk, attempts=pending.attempts)
    return bool(seen.update(attempts=attempts, try_at=now + delay))


def _told(pending: PendingRevocation, provider: OAuthProvider | None) -> tuple[Outcome, str]:
    """Send both tokens, the refresh token first; never to an endpoint that they were not issued for (A18)."""
    if provider is None:
        return Outcome.UNSUPPORTED, "provider_gone"
    if provider.fingerprint() != pending.provider_fingerprint:
        return Outcome.UNSUPPORTED, "provider_changed"
    if not provider.revocation_endpoint:
        return Outcome.UNSUPPORTED, "no_revocation_endpoint"
    try:
        tokens = {hint: open_sealed(pending, hint) for hint in ("refresh_token", "access_token")}
        client = registered_client(provider)
        database.let_go()
        answers = [oauth2.revoke(client, token=token, token_type_hint=hint) for hint, token in tokens.items() if token]
    except Unreadable:
        return Outcome.FAILED, "unreadable"
    except SecretNotFound:
        return Outcome.PENDING, "secret_not_found"
    except oauth2.ProviderRefused as refused:  # an admin may put our client right meanwhile
        return Outcome.PENDING, refused.error
    except oauth2.OAuthError as failure:
        return Outcome.PENDING, getattr(failure, "why", "unavailable")
    return (Outcome.REVOKED if Revoked.REVOKED in answers else Outcome.UNSUPPORTED), ""


def _name(provider_uid: UUID) -> str:
    provider = OAuthProvider.everything.filter(uid=provider_uid).first()
    return provider.name if provider else str(provider_uid)
