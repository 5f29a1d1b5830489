"""Entries that do not open: altered, moved from another row, or sealed under a key that is gone (C02, C03).

Such an entry keeps its tokens and tells its user to connect again. It is found by the call or the renewal that would
use it, noted and audited once, and heals by itself when it opens again.
"""

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from audit import trail
from connections import granting
from providers.models import OAuthProvider
from vault import entries, sealing
from vault.models import VaultEntry

REASON = entries.UNREADABLE


def is_unreadable(entry: VaultEntry) -> bool:
    """Tell whether a token that the entry holds does not open."""
    return not all(sealing.opens(entry, column) for column in ("access_token", "refresh_token"))


def note(entry: VaultEntry, provider: OAuthProvider) -> None:
    """Note and audit, once, that a token of the entry does not open."""
    if entries.note_unreadable(entry):
        _record("connection.unreadable", entry, provider, trail.FAILED)


def looked_at_again(entry: VaultEntry, provider: OAuthProvider) -> VaultEntry:
    """Return the entry as it is now that it was noted as unreadable, healed if it opens again."""
    if entry.attention_reason != REASON or is_unreadable(entry):
        return entry
    if entries.note_readable(entry, attention_reason=_reason_without(entry, provider), now=timezone.now()):
        _record("connection.readable", entry, provider, trail.OK)
    return VaultEntry.objects.filter(pk=entry.pk).first() or entry


def heal() -> int:
    """Look again at up to `VAULT_SCAN_BATCH` of what was noted; return how many of them open."""
    rows = VaultEntry.objects.filter(attention_reason=REASON).order_by("pk")[: settings.VAULT_SCAN_BATCH]
    providers = OAuthProvider.objects.in_bulk({entry.provider_uid for entry in rows}, field_name="uid")
    looked = [
        looked_at_again(entry, providers[entry.provider_uid]) for entry in rows if entry.provider_uid in providers
    ]
    return sum(entry.attention_reason != REASON for entry in looked)


def _reason_without(entry: VaultEntry, provider: OAuthProvider) -> str:
    """Return what was noted on the entry when it was stored, and is true still."""
    user = User.objects.filter(pk=entry.user_id).first()
    required = granting.required(user, provider) if user else []
    missing = granting.missing_scopes(required, asked=entry.scopes_requested, granted=entry.scopes_granted)
    return granting.MISSING_SCOPES if missing else ""


def _record(action: str, entry: VaultEntry, provider: OAuthProvider, result: str) -> None:
    trail.record(action, target_type="connection", target=provider.name, result=result, user_id=entry.user_id)
