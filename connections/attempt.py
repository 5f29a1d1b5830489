"""One request for new tokens (RFC 6749 §6) by the holder of an entry's lease, and what its answer means.

The request is made with no transaction and no connection held. Before it, the provider's health and its slots are
asked; after it, the answer is written down, or what the failure means: for the connection here, for the provider in
`provider_health`.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from audit import trail
from connections import backoff, database, freshness, late, notices, provider_health, slots, unreadable
from connections.errors import ConnectionRequired, ExpiredDetail, RefreshUnavailable, SecretMissing, TokenExpired
from connections.provider_health import Admission
from metrics import catalog
from providers import oauth2
from providers.models import OAuthProvider
from providers.oauth2 import RegisteredClient, WireSession
from providers.registered import registered_client
from vault import entries
from vault.entries import Tokens
from vault.models import VaultEntry
from vault.sealing import Unreadable, open_sealed
from vault.secrets import SecretNotFound

logger = logging.getLogger(__name__)
BUSY, PAUSED = "busy", "paused"
SLOT_PATIENCE_SECONDS = 10.0
LONGEST_LIFETIME_SECONDS = 10 * 365 * 86_400.0
# Longer than a database takes to restart: what is lost here is lost for good (G02).
_WRITE_BACK_PAUSES_SECONDS = (0.1, 0.5, 2.0, 5.0, 10.0, 15.0)
# After these the provider may have rotated: what it answered, if it did, was not heard or could not be read.
_UNHEARD = frozenset(["timeout", "network", "status_500", "status_502", "status_504"])


@dataclass(frozen=True, slots=True)
class Held:
    """What a caller that renews many entries of one provider holds already: one of its slots, its `client`, and a
    `session` whose connection stays open between requests.
    """

    client: RegisteredClient
    session: WireSession | None = None


class Attempt:
    """One request for new tokens, by the `holder` of the lease on `entry`."""

    def __init__(self, entry: VaultEntry, provider: OAuthProvider, holder: str, held: Held | None = None) -> None:
        self._entry = entry
        self._provider = provider
        self._holder = holder
        self._admission = Admission()
        self._begun = 0.0
        self._held = held

    def run(self, *, wait: bool) -> VaultEntry:
        """Ask, and write down what came of it. Raises TokenError.

        `wait` for one of the provider's slots, unless the caller holds one already.
        """
        if self._held is not None:
            return self._run()
        with slots.taken(self._provider.uid, patience_seconds=SLOT_PATIENCE_SECONDS if wait else 0) as is_taken:
            if not is_taken:
                raise self._not_asked(BUSY)
            return self._run()

    def _run(self) -> VaultEntry:
        try:
            tokens = self._ask()
        except oauth2.ProviderRefused as refused:
            return self._refused(refused)
        except (oauth2.ProviderUnavailable, oauth2.BadAnswer) as failure:
            raise self._unavailable(failure) from None
        except SecretNotFound as missing:
            catalog.refreshes.count("secret_missing")
            entries.release(self._entry, holder=self._holder)
            raise SecretMissing(self._provider.name, missing.name) from None
        except Unreadable:
            catalog.refreshes.count("unreadable")
            entries.release(self._entry, holder=self._holder)
            unreadable.note(self._entry, self._provider)
            raise ConnectionRequired(self._provider.name) from None
        return self._succeeded(tokens)

    def _ask(self) -> Tokens:
        refresh_token = open_sealed(self._entry, "refresh_token")
        if refresh_token is None:
            raise Unreadable("refresh_token")
        client = self._held.client if self._held is not None else registered_client(self._provider)
        self._admission = provider_health.admit(self._provider.uid, timezone.now())
        if self._admission.wait_seconds:
            raise self._not_asked(PAUSED)
        database.let_go()
        self._begun = time.monotonic()
        asked_at = timezone.now()
        session = self._held.session if self._held is not None else None
        answer = oauth2.refresh(client, refresh_token=refresh_token, asked=self._asked(), session=session)
        return as_tokens(answer, scopes_otherwise=self._entry.scopes_granted, now=asked_at)

    def _asked(self) -> list[str]:
        """Return the scopes in whose words this entry speaks: those asked for, and what was granted beyond."""
        return list(dict.fromkeys([*self._entry.scopes_requested, *self._entry.scopes_granted]))

    def _not_asked(self, why: str) -> RefreshUnavailable:
        entries.release(self._entry, holder=self._holder)
        return RefreshUnavailable(self._provider.name, why)

    def _succeeded(self, tokens: Tokens) -> VaultEntry:
        self._count_seconds()
        written = self._written(tokens)
        catalog.refreshes.count("late" if written is None else "renewed")
        if written is None:
            late.settle(self._entry, self._provider, tokens, timezone.now())
        elif self._entry.failing_since is not None:
            self._record("connection.recovered", trail.OK, failures=self._entry.failures)
        provider_health.answered(self._provider, self._admission, timezone.now())
        return written or reread(self._entry, self._provider)

    def _written(self, tokens: Tokens) -> VaultEntry | None:
        """Write the tokens down; a provider that rotates gives them only once, so a lost database is waited for."""
        for pause in _WRITE_BACK_PAUSES_SECONDS:
            try:
                return entries.replace(self._entry, tokens=tokens, now=timezone.now())
            except (OperationalError, InterfaceError) as exc:
                logger.warning("refreshed tokens cannot be written yet", extra={"error": type(exc).__name__})
                database.drop()
                time.sleep(pause)
        return entries.replace(self._entry, tokens=tokens, now=timezone.now())

    def _refused(self, refused: oauth2.ProviderRefused) -> VaultEntry:
        self._count_seconds()
        now = timezone.now()
        if refused.standard_error in provider_health.CLIENT_REJECTED:
            catalog.refreshes.count("client_refused")
            provider_health.client_rejected(self._provider, refused.standard_error, now)
            raise self._not_asked(refused.standard_error) from None
        provider_health.answered(self._provider, self._admission, now)
        if refused.is_terminal:
            return self._ended()
        catalog.refreshes.count("refused")
        raise self._failed(refused.error) from None

    def _ended(self) -> VaultEntry:
        """Take `invalid_grant` for the end, unless there is a spare or the tokens were replaced meanwhile (B05)."""
        if entries.promote_spare(self._entry):
            return self._again(reread(self._entry, self._provider))
        reason = self._reason_of_end(timezone.now())
        with transaction.atomic():
            is_ended = entries.wipe(self._entry, reason=reason, now=timezone.now())
            if is_ended:
                self._record("connection.ended", trail.FAILED, reason=reason)
                notices.connection_ended(self._entry.user_id, self._provider, reason)
        if is_ended:
            catalog.refreshes.count("lost_rotation" if reason == "lost_rotation" else "rejected")
            raise TokenExpired(self._provider.name, reason)
        current = reread(self._entry, self._provider)
        if current.generation == self._entry.generation:  # it got a spare meanwhile
            return self._again(current)
        return current

    def _again(self, entry: VaultEntry) -> VaultEntry:
        return Attempt(entry, self._provider, self._holder, self._held)._run()

    def _reason_of_end(self, now: datetime) -> ExpiredDetail:
        """Whoever asked before us and never gave the lease back had perhaps rotated into the void."""
        if self._entry.lease_holder:
            return "lost_rotation"
        lapses_at = self._entry.refresh_token_expires_at
        is_idle = freshness.is_idle(self._entry, now) and not self._provider.keep_idle_connections
        return "idle" if is_idle or (lapses_at is not None and lapses_at <= now) else "invalid_grant"

    def _unavailable(self, failure: oauth2.ProviderUnavailable | oauth2.BadAnswer) -> RefreshUnavailable:
        self._count_seconds()
        catalog.refreshes.count("throttled" if failure.why == "rate_limited" else "unavailable")
        wait = getattr(failure, "retry_after_seconds", None)
        provider_health.unavailable(self._provider, self._admission, failure.why, wait, timezone.now())
        is_unheard = isinstance(failure, oauth2.BadAnswer) or failure.why in _UNHEARD
        return self._failed(failure.why, wait, is_unanswered=is_unheard)

    def _failed(
        self, why: str, retry_after_seconds: float | None = None, *, is_unanswered: bool = False
    ) -> RefreshUnavailable:
        """Leave the tokens alone, and the entry too, for a while that grows with each failure (B07)."""
        entry, now = self._entry, timezone.now()
        delay = backoff.refresh_delay_seconds(entry.failures + 1, retry_after_seconds)
        entry.failing_since = entry.failing_since or now
        reason = entries.UPSTREAM_ERROR if freshness.has_given_up(entry, now) else ""
        entries.release_failed(
            entry,
            holder=self._holder,
            retry_at=now + timedelta(seconds=delay),
            failing_since=entry.failing_since,
            attention_reason=entry.attention_reason or reason,
            is_unanswered=is_unanswered,
        )
        self._record("connection.refresh_failed", trail.FAILED, reason=why, failures=entry.failures + 1)
        return RefreshUnavailable(self._provider.name, why)

    def _count_seconds(self) -> None:
        catalog.refresh_seconds.observe(time.monotonic() - self._begun)

    def _record(self, action: str, result: str, **data: Any) -> None:
        trail.record(
            action,
            target_type="connection",
            target=self._provider.name,
            result=result,
            user_id=self._entry.user_id,
            **data,
        )


def as_tokens(answer: oauth2.TokenAnswer, *, scopes_otherwise: list[str], now: datetime) -> Tokens:
    """Turn lifetimes into moments, counted from when the provider was asked (`now`).

    Scopes that the answer does not name are `scopes_otherwise` (RFC 6749 §5.1).
    """
    return Tokens(
        access_token=answer.access_token,
        refresh_token=answer.refresh_token,
        expires_at=_after(answer.expires_in, now),
        refresh_token_expires_at=_after(answer.refresh_token_expires_in, now),
        scopes_granted=scopes_otherwise if answer.scopes is None else answer.scopes,
    )


def reread(entry: VaultEntry, provider: OAuthProvider) -> VaultEntry:
    """Return the row as it is now. Raises ConnectionRequired when it is gone."""
    current = VaultEntry.objects.filter(pk=entry.pk).first()
    if current is None:
        raise ConnectionRequired(provider.name)
    return current


def _after(seconds: float | None, now: datetime) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=min(seconds, LONGEST_LIFETIME_SECONDS))
