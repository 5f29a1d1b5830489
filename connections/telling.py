"""One round of telling a provider that tokens are to be revoked (RFC 7009): every token, whatever became of the other.

A token that is settled is erased from its row at once and never sent again. While the provider is to be left alone
nothing is sent, and no attempt is used up.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit import trail
from connections import backoff, database, provider_health
from metrics import catalog
from providers import oauth2
from providers.models import OAuthProvider
from providers.oauth2 import RegisteredClient
from providers.registered import registered_client
from vault.models import PendingRevocation
from vault.sealing import Unreadable, open_sealed
from vault.secrets import SecretNotFound

# The refresh token first: whatever happens next, no new access token can be had (RFC 7009 §2.1).
HINTS = ("refresh_token", "access_token")


class Outcome(StrEnum):
    """What became of the tokens at the provider; here they are gone in every case (contract §4)."""

    REVOKED = "revoked"
    UNSUPPORTED = "unsupported"
    PENDING = "pending"
    FAILED = "failed"
    NOT_CONNECTED = "not_connected"


def tell_provider(pending: PendingRevocation) -> Outcome:
    """Try once. Before the request the next try is set, so that a crash loses nothing and nobody tries at once."""
    provider = OAuthProvider.everything.filter(uid=pending.provider_uid).first()
    if _is_left_alone(pending.provider_uid):
        _record(pending, provider, Outcome.PENDING, "paused")
        return Outcome.PENDING
    if not _claim(pending, timezone.now()):
        return Outcome.PENDING
    outcome, why = _told(pending, provider)
    if outcome is Outcome.PENDING:
        _is_left_alone(pending.provider_uid)
        if pending.attempts >= settings.VAULT_REVOCATION_ATTEMPTS:
            outcome = Outcome.FAILED
    with transaction.atomic():
        if outcome is not Outcome.PENDING:
            PendingRevocation.objects.filter(pk=pending.pk).delete()
        _record(pending, provider, outcome, why)
    catalog.revocations.count(outcome)
    return outcome


def _is_left_alone(provider_uid: UUID) -> bool:
    """Tell whether nothing may be sent now; then nobody tries any of the provider's before it may (§2.2.1)."""
    now = timezone.now()
    wait_seconds = provider_health.may_ask(provider_uid, now)
    if wait_seconds:
        until = now + timedelta(seconds=wait_seconds)
        PendingRevocation.objects.filter(provider_uid=provider_uid, try_at__lt=until).update(try_at=until)
    return wait_seconds > 0


def _claim(pending: PendingRevocation, now: datetime) -> bool:
    attempts = pending.attempts + 1
    delay = timedelta(seconds=backoff.revocation_delay_seconds(attempts))
    seen = PendingRevocation.objects.filter(pk=pending.pk, attempts=pending.attempts)
    if not seen.update(attempts=attempts, try_at=now + delay):
        return False
    pending.attempts = attempts
    return True


def _told(pending: PendingRevocation, provider: OAuthProvider | None) -> tuple[Outcome, str]:
    """Send both tokens, never to an endpoint that they were not issued for (A18); return the outcome and why."""
    if provider is None:
        return Outcome.UNSUPPORTED, "provider_gone"
    if provider.fingerprint() != pending.provider_fingerprint:
        return Outcome.UNSUPPORTED, "provider_changed"
    if not provider.revocation_endpoint:
        return Outcome.UNSUPPORTED, "no_revocation_endpoint"
    try:
        client = registered_client(provider)
    except SecretNotFound:
        return Outcome.PENDING, "secret_not_found"
    failures = [why for hint in HINTS if (why := _send(pending, hint, provider, client))]
    if failures:
        return Outcome.PENDING, failures[0]
    outcome = Outcome(pending.settled_as)
    return outcome, "unreadable" if outcome is Outcome.FAILED else ""


def _send(pending: PendingRevocation, hint: str, provider: OAuthProvider, client: RegisteredClient) -> str:
    """Send one token, if it is still to be sent; return why it has to be sent again, or nothing."""
    try:
        token = open_sealed(pending, hint)
    except Unreadable:
        _settle(pending, hint, Outcome.FAILED)
        return ""
    if token is None:
        return ""
    if _is_left_alone(provider.uid):  # the answer to the other token may have asked for it
        return "paused"
    database.let_go()
    try:
        answer = oauth2.revoke(client, token=token, token_type_hint=hint)
    except oauth2.ProviderUnavailable as failure:
        if failure.retry_after_seconds:
            provider_health.leave_alone(provider.uid, failure.retry_after_seconds, failure.why, timezone.now())
        return failure.why
    except oauth2.ProviderRefused as refused:  # an admin may put our client right meanwhile
        return refused.error or "refused"
    except oauth2.OAuthError:
        return "unavailable"
    _settle(pending, hint, Outcome(answer.value))
    return ""


def _settle(pending: PendingRevocation, hint: str, outcome: Outcome) -> None:
    """Erase a token and note what it adds to the outcome of both.

    One that could not be told makes it `failed`; otherwise the refresh token decides, since while it lives so does
    the grant.
    """
    setattr(pending, hint, None)
    decides = hint == "refresh_token" or (pending.refresh_token is None and not pending.settled_as)
    if outcome is Outcome.FAILED or (decides and pending.settled_as != Outcome.FAILED):
        pending.settled_as = outcome.value
    PendingRevocation.objects.filter(pk=pending.pk).update(settled_as=pending.settled_as, **{hint: None})


def _record(pending: PendingRevocation, provider: OAuthProvider | None, outcome: Outcome, why: str) -> None:
    trail.record(
        "connection.revocation",
        target_type="connection",
        target=provider.name if provider else str(pending.provider_uid),
        result=trail.FAILED if outcome in (Outcome.PENDING, Outcome.FAILED) else trail.OK,
        user_id=pending.user_id,
        outcome=outcome.value,
        why=why,
        attempt=pending.attempts,
    )
