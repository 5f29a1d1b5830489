"""Ask a token endpoint for a service account's token (RFC 6749 §4.4): one caller asks, across all processes.

As in `connections.refresh`, the one who asks holds a lease on the row, and neither a transaction nor a connection;
the others wait and take what it got. What a failure means for the endpoint is for `provider_health` to keep.
"""

import secrets as randomness
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from audit import trail
from connections import backoff, database, provider_health, slots
from connections.attempt import BUSY, LONGEST_LIFETIME_SECONDS, PAUSED, SLOT_PATIENCE_SECONDS
from connections.errors import RefreshUnavailable, SecretMissing, ServiceAccountRefused, TokenError
from connections.provider_health import Admission
from connections.refresh import IN_PROGRESS, POLL_FIRST_SECONDS, POLL_MOST_SECONDS
from connections.service_accounts import Source
from providers import oauth2
from vault import service_tokens
from vault.models import ServiceToken
from vault.secrets import SecretNotFound


def renewed(row: ServiceToken, source: Source, *, wait: bool, is_rejected: bool = False) -> ServiceToken:
    """Return the row as it is after someone, us or another, has got a token in place of the one in `row`.

    `is_rejected`: because the upstream refused that one. Raises TokenError.
    """
    deadline = time.monotonic() + settings.VAULT_REFRESH_LEASE_SECONDS + POLL_MOST_SECONDS
    pause, current = POLL_FIRST_SECONDS, row
    while current.generation == row.generation:
        now = timezone.now()
        if current.retry_at is not None and current.retry_at > now:
            raise resting(current, source)
        if current.lease_until is None or current.lease_until <= now:
            holder = randomness.token_hex(16)
            seconds = settings.VAULT_REFRESH_LEASE_SECONDS
            if service_tokens.claim(current, holder=holder, now=now, lease_seconds=seconds):
                return _Request(current, source, holder).run(wait=wait, is_rejected=is_rejected)
        elif not wait:
            raise RefreshUnavailable(source.name, IN_PROGRESS)
        elif time.monotonic() > deadline:
            raise RefreshUnavailable(source.name, "timeout")
        else:
            database.let_go()
            time.sleep(pause)
            pause = min(pause * 2, POLL_MOST_SECONDS)
        current = _reread(current, source)
    return current


def resting(row: ServiceToken, source: Source) -> TokenError:
    """Return what to say while nobody is to ask again yet."""
    if row.is_refused:
        return ServiceAccountRefused(source.name, row.last_error)
    return RefreshUnavailable(source.name, "backing_off")


class _Request:
    """One request for a token, by the `holder` of the lease on `row`."""

    def __init__(self, row: ServiceToken, source: Source, holder: str) -> None:
        self._row, self._source, self._holder = row, source, holder
        self._admission = Admission()

    def run(self, *, wait: bool, is_rejected: bool) -> ServiceToken:
        """Ask, and write down what came of it. Raises TokenError."""
        patience = SLOT_PATIENCE_SECONDS if wait else 0
        with slots.taken(self._source.uid, patience_seconds=patience) as is_taken:
            if not is_taken:
                raise self._not_asked(BUSY)
            try:
                return self._obtained(is_rejected)
            except oauth2.ProviderRefused as refused:
                raise self._refused(refused.standard_error) from None
            except (oauth2.ProviderUnavailable, oauth2.BadAnswer) as failure:
                raise self._unavailable(failure) from None
            except SecretNotFound as missing:
                service_tokens.release(self._row, holder=self._holder)
                raise SecretMissing(self._source.name, missing.name) from None

    def _obtained(self, is_rejected: bool) -> ServiceToken:
        client = self._source.client()
        self._admission = provider_health.admit(self._source.uid, timezone.now())
        if self._admission.wait_seconds:
            raise self._not_asked(PAUSED)
        database.let_go()
        asked_at = timezone.now()
        answer = oauth2.client_credentials(client, scopes=self._source.account.scopes)
        lifetime = None if answer.expires_in is None else min(answer.expires_in, LONGEST_LIFETIME_SECONDS)
        written = service_tokens.replace(
            self._row,
            access_token=answer.access_token,
            expires_at=None if lifetime is None else asked_at + timedelta(seconds=lifetime),
            now=asked_at,
            is_after_rejection=is_rejected,
        )
        provider_health.answered(self._source, self._admission, timezone.now())
        if written is None:
            return self._too_late(answer.access_token)
        self._record("service_token.obtained", trail.OK)
        return written

    def _too_late(self, access_token: str) -> ServiceToken:
        """Give back a token that nobody can use; while the same account goes on it lapses by itself.

        To revoke it then could end the other one: some endpoints hand out the same token twice.
        """
        current = ServiceToken.objects.filter(pk=self._row.pk).first()
        if current is None or current.fingerprint != self._row.fingerprint:
            service_tokens.keep_for_revocation(self._row, access_token, reason="late_service_token")
            raise RefreshUnavailable(self._source.name, "changed")
        return current

    def _refused(self, error: str) -> ServiceAccountRefused:
        """Ask again after a growing while only: neither time nor another call makes a client right."""
        if self._source.provider and error == "invalid_client":
            provider_health.client_rejected(self._source, error, timezone.now())
        else:
            provider_health.answered(self._source, self._admission, timezone.now())
        self._failed(error, None, is_refused=True)
        return ServiceAccountRefused(self._source.name, error)

    def _unavailable(self, failure: oauth2.ProviderUnavailable | oauth2.BadAnswer) -> RefreshUnavailable:
        wait = getattr(failure, "retry_after_seconds", None)
        provider_health.unavailable(self._source, self._admission, failure.why, wait, timezone.now())
        self._failed(failure.why, wait, is_refused=False)
        return RefreshUnavailable(self._source.name, failure.why)

    def _failed(self, why: str, retry_after_seconds: float | None, *, is_refused: bool) -> None:
        now, failures = timezone.now(), self._row.failures + 1
        delay = timedelta(seconds=backoff.refresh_delay_seconds(failures, retry_after_seconds))
        service_tokens.release_failed(
            self._row, holder=self._holder, now=now, retry_at=now + delay, why=why, is_refused=is_refused
        )
        self._record("service_token.failed", trail.FAILED, reason=why, failures=failures)

    def _not_asked(self, why: str) -> RefreshUnavailable:
        service_tokens.release(self._row, holder=self._holder)
        return RefreshUnavailable(self._source.name, why)

    def _record(self, action: str, result: str, **data: Any) -> None:
        name = self._source.account.server_name
        trail.record(action, target_type="mcp_server", target=name, result=result, source=self._source.name, **data)


def _reread(row: ServiceToken, source: Source) -> ServiceToken:
    current = ServiceToken.objects.filter(pk=row.pk).first()
    if current is None:
        raise RefreshUnavailable(source.name, "changed")
    return current
