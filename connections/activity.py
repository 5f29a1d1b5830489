"""When a connection was last used: noted on the call path, written in batches off it."""

from datetime import datetime

from clients import activity
from vault.models import VaultEntry


def _write(batch: dict[int, datetime]) -> None:
    for pk, at in batch.items():
        VaultEntry.objects.filter(pk=pk).update(last_used_at=at)


_entries = activity.LastUsed(_write)
entry_used = _entries.note


def register() -> None:
    """Have the notes flushed with the others."""
    activity.register(_entries)
