"""What becomes of tokens that came too late to be written: the row has moved on, or is gone.

They are never simply forgotten, since a provider that rotates may hold them for the only good ones:
- the same grant, renewed by whoever took over the lapsed lease: the late refresh token is kept as a spare
- the same grant, wiped because the provider refused the token that ours had replaced: ours heal it
- disconnected, or connected again: they are only good for revocation
Telling a provider to revoke one could end the other (RFC 7009 §2.1), so nothing is revoked while the grant lives.
"""

from dataclasses import replace
from datetime import datetime

from audit import trail
from providers.models import OAuthProvider
from vault import entries
from vault.entries import Tokens
from vault.models import VaultEntry
from vault.sealing import Unreadable, open_sealed

_LOOKS = 5


def settle(entry: VaultEntry, provider: OAuthProvider, tokens: Tokens, now: datetime) -> None:
    """Put `tokens`, which the refresh token of `entry` as it once was has brought, where they belong."""
    for _ in range(_LOOKS):
        current = VaultEntry.objects.filter(pk=entry.pk).first()
        if current is None or current.connected_at != entry.connected_at:
            break
        if current.access_token is None:
            if current.attention_reason not in entries.REFUSED_BY_PROVIDER:
                break
            if entries.heal(current, tokens=_complete(tokens, entry), now=now):
                _record("connection.healed", entry, provider)
                return
        elif _is_kept(current, tokens):
            return
    entries.keep_for_revocation(
        entry,
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        reason="late_refresh",
        now=now,
    )
    _record("connection.late_tokens_dropped", entry, provider)


def _is_kept(current: VaultEntry, tokens: Tokens) -> bool:
    """Keep the refresh token as a spare, unless the row holds it already."""
    if tokens.refresh_token is None or tokens.refresh_token == _opened(current, "refresh_token"):
        return True
    return entries.keep_spare(current, refresh_token=tokens.refresh_token)


def _complete(tokens: Tokens, entry: VaultEntry) -> Tokens:
    """Add the refresh token that goes on being valid when the answer names no new one (B03)."""
    return replace(tokens, refresh_token=tokens.refresh_token or _opened(entry, "refresh_token"))


def _opened(entry: VaultEntry, column: str) -> str | None:
    try:
        return open_sealed(entry, column)
    except Unreadable:
        return None


def _record(action: str, entry: VaultEntry, provider: OAuthProvider) -> None:
    trail.record(action, target_type="connection", target=provider.name, user_id=entry.user_id)
