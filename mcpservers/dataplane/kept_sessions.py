"""Sessions in the database, shared by all replicas. Sync; `sessions` calls it off the event loop."""

import hashlib
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from clients import activity
from mcpservers.models import McpSession
from vault.sealing import Unreadable, open_sealed, seal

KEPT_PER_USER = 200
COLLECTED_AT_ONCE = 500
# Sessions that this process used and that are no longer there: ended elsewhere, or made room for others.
gone: OrderedDict[int, None] = OrderedDict()
MOST_GONE = 20_000


def keep(id: str, *, user_id: int, server_uid: UUID, initialize_params: dict[str, Any], **fields: str) -> McpSession:
    """Begin a session; `fields` are `protocol_version` and, if it is open, `upstream_id`. The oldest make room."""
    upstream_id = fields.pop("upstream_id", None)
    row = McpSession(
        digest=digest(id), user_id=user_id, server_uid=server_uid, initialize_params=initialize_params, **fields
    )
    row.upstream_id = None if upstream_id is None else seal(row, "upstream_id", upstream_id)
    row.used_at = timezone.now()
    row.save()
    extra = McpSession.objects.filter(user_id=user_id).order_by("-used_at").values_list("pk", flat=True)[KEPT_PER_USER:]
    McpSession.objects.filter(pk__in=list(extra)).delete()
    return row


def find(id: str, *, user_id: int, server_uid: UUID) -> McpSession | None:
    """Return the session if it is this user's, this server's, and was used lately."""
    since = timezone.now() - timedelta(seconds=settings.AIGW_SESSION_IDLE_SECONDS)
    rows = McpSession.objects.filter(user_id=user_id, server_uid=server_uid, used_at__gte=since)
    return rows.filter(digest=digest(id)).first()


def open_upstream_id(row: McpSession) -> str | None:
    """Return the upstream's id; None while it is not open, and when it was sealed under a key that is gone."""
    try:
        return open_sealed(row, "upstream_id")
    except Unreadable:
        return None


def opened(pk: int, *, upstream_id: str, protocol_version: str) -> bool:
    """Write down that the session is open at the upstream; False when another replica opened it first."""
    row = McpSession.objects.filter(pk=pk, upstream_id__isnull=True).first()
    if row is None:
        return False
    values = {"upstream_id": seal(row, "upstream_id", upstream_id), "upstream_protocol_version": protocol_version}
    return bool(McpSession.objects.filter(pk=pk, upstream_id__isnull=True).update(**values))


def end(pk: int) -> None:
    """Forget a session everywhere."""
    McpSession.objects.filter(pk=pk).delete()


def end_all(user_id: int) -> int:
    """Forget every session of a user; return how many."""
    return McpSession.objects.filter(user_id=user_id).delete()[0]


def collect_idle() -> int:
    """Delete some of the sessions that nobody used for `AIGW_SESSION_IDLE_SECONDS`; return how many."""
    before = timezone.now() - timedelta(seconds=settings.AIGW_SESSION_IDLE_SECONDS)
    idle = McpSession.objects.filter(used_at__lt=before).values_list("pk", flat=True)[:COLLECTED_AT_ONCE]
    return McpSession.objects.filter(pk__in=list(idle)).delete()[0]


def digest(id: str) -> str:
    """Return what the database knows a session by."""
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()


def _write_used(batch: dict[int, datetime]) -> None:
    for pk, at in batch.items():
        if not McpSession.objects.filter(pk=pk).update(used_at=at):
            gone[pk] = None
    while len(gone) > MOST_GONE:
        gone.popitem(last=False)


_used = activity.LastUsed(_write_used)
used = _used.note
activity.register(_used)
