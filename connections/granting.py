"""What a fresh grant means for a user's connection: is something missing, does the old refresh token still serve?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from audit import trail
from connections import registry
from connections.models import Trip
from metrics import catalog
from providers.models import OAuthProvider
from providers.oauth2 import TokenAnswer
from vault import entries
from vault.entries import Tokens
from vault.models import VaultEntry
from vault.sealing import Unreadable, open_sealed

MISSING_SCOPES = "missing_scopes"
ACCOUNT_CHANGED = "account_changed"
# Asks for a refresh token; many providers leave it out of what they say they granted.
OFFLINE_ACCESS = "offline_access"


@dataclass(frozen=True, slots=True)
class Connected:
    """What was connected, for the page after it. `previous_account` is set when another one was connected before."""

    provider: OAuthProvider
    scopes: list[str]
    account: str
    missing: list[str]
    server_name: str
    previous_account: str = ""

    def summary(self) -> dict[str, Any]:
        """Return what the page after it shows, fit for a session."""
        return {
            "provider": self.provider.name,
            "scopes": self.scopes,
            "account": self.account,
            "missing": self.missing,
            "server_name": self.server_name,
            "previous_account": self.previous_account,
        }


def store(
    user: User, provider: OAuthProvider, trip: Trip, answer: TokenAnswer, *, account: str, now: datetime
) -> Connected:
    """Keep the tokens of a grant, in one transaction with what they displace; tell whoever waits once committed."""
    granted = list(trip.scopes) if answer.scopes is None else list(answer.scopes)
    missing = missing_scopes(required(user, provider), asked=trip.scopes, granted=granted)
    with transaction.atomic():
        previous = entries.find(user.pk, provider.uid)
        is_other_account = previous is not None and _differ(previous.account, account)
        tokens = _tokens(answer, granted, now)
        if previous is not None and is_other_account:
            # The old tokens belong to an account that the user has left: the provider is told (A20).
            entries.retire(previous, reason=ACCOUNT_CHANGED, now=now)
        elif previous is not None and answer.refresh_token is None:
            tokens = _with_old_refresh_token(tokens, previous, provider, account)
        entries.store(
            user_id=user.pk,
            provider_uid=provider.uid,
            fingerprint=trip.provider_fingerprint,
            tokens=tokens,
            scopes_requested=list(trip.scopes),
            account=account,
            attention_reason=MISSING_SCOPES if missing else "",
            now=now,
        )
        _record(user, provider, granted, missing, is_other_account)
        transaction.on_commit(lambda: registry.connected(user.pk, provider.uid))
    catalog.consents.count("connected")
    previous_account = previous.account if previous is not None and is_other_account else ""
    return Connected(provider, granted, account, missing, trip.server_name, previous_account)


def give_back(trip: Trip, answer: TokenAnswer, *, now: datetime) -> None:
    """Have tokens revoked that must not be stored any more: their provider was changed or removed meanwhile."""
    owner = VaultEntry(
        user_id=trip.user_id, provider_uid=trip.provider_uid, provider_fingerprint=trip.provider_fingerprint
    )
    entries.keep_for_revocation(
        owner, access_token=answer.access_token, refresh_token=answer.refresh_token, reason="not_stored", now=now
    )


def missing_scopes(required: Sequence[str], *, asked: Sequence[str], granted: Sequence[str]) -> list[str]:
    """Return what was required and asked for but not granted."""
    return sorted((set(required) & set(asked)) - set(granted))


def required(user: User, provider: OAuthProvider) -> list[str]:
    """Return what the user's servers cannot do without; the provider's own scopes where no server says."""
    needs = registry.server_needs(user, provider.uid)
    if needs:
        return [scope for need in needs for scope in need.required_scopes]
    return [scope for scope in provider.scopes if scope != OFFLINE_ACCESS]


def _tokens(answer: TokenAnswer, granted: list[str], now: datetime) -> Tokens:
    return Tokens(
        access_token=answer.access_token,
        refresh_token=answer.refresh_token,
        expires_at=_after(now, answer.expires_in),
        refresh_token_expires_at=_after(now, answer.refresh_token_expires_in),
        scopes_granted=granted,
    )


def _with_old_refresh_token(tokens: Tokens, previous: VaultEntry, provider: OAuthProvider, account: str) -> Tokens:
    """Keep the old refresh token when it is surely of the same account and grants no less than the new token."""
    same_account = bool(account) and account == previous.account
    same_client = previous.provider_fingerprint == provider.fingerprint()
    if not (same_account and same_client and set(tokens.scopes_granted) <= set(previous.scopes_granted)):
        return tokens
    try:
        refresh_token = open_sealed(previous, "refresh_token")
    except Unreadable:
        return tokens
    trail.record(
        "connection.opened",
        target_type="connection",
        target=provider.name,
        user_id=previous.user_id,
        purpose="reconnect",
    )
    return Tokens(
        access_token=tokens.access_token,
        refresh_token=refresh_token,
        expires_at=tokens.expires_at,
        refresh_token_expires_at=previous.refresh_token_expires_at,
        scopes_granted=tokens.scopes_granted,
    )


def _differ(before: str, now: str) -> bool:
    return bool(before and now and before != now)


def _after(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)


def _record(user: User, provider: OAuthProvider, granted: list[str], missing: list[str], other_account: bool) -> None:
    trail.record(
        "oauth.connected",
        actor=user,
        target_type="connection",
        target=provider.name,
        scopes=granted,
        missing=missing,
        account_changed=other_account,
    )
