"""Hear a server say on a stream that its tools have changed, and have it asked again (contract §6, "cache")."""

import logging
import time
from dataclasses import replace
from uuid import UUID

from django.db import DatabaseError

from connections.database import run_in_thread
from mcpservers.dataplane.exchange import Exchange
from mcpservers.dataplane.visit import Visit
from mcpservers.dataplane.wrapping import WrappedExchange
from mcpservers.tool_policy import schedule

logger = logging.getLogger(__name__)
NOTICE = b"notifications/tools/list_changed"
# A server that says so all the time is heard once in a while; what it says in between is covered by the one asking.
DEAF_SECONDS = schedule.SOON_SECONDS
_heard: dict[UUID, float] = {}


async def noticed(server_uid: UUID) -> None:
    """Have the server asked for its tools soon. Never raises: the stream goes on."""
    now = time.monotonic()
    if now - _heard.get(server_uid, -DEAF_SECONDS) < DEAF_SECONDS:
        return
    _heard[server_uid] = now
    try:
        await run_in_thread(schedule.soon, server_uid)
    except DatabaseError as exc:
        logger.warning("a changed list was not noted", extra={"error": type(exc).__name__})


def heard(visit: Visit) -> Visit:
    """Return the visit whose stream is listened to."""
    return replace(visit, exchange=ListeningExchange(visit.exchange, visit.plan.server_uid))


class ListeningExchange(WrappedExchange):
    """An exchange whose stream is listened to; every byte passes untouched."""

    def __init__(self, inner: Exchange, server_uid: UUID) -> None:
        super().__init__(inner)
        self._server_uid, self._tail = server_uid, b""

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Look what the piece says, then send it on: a caller who leaves at the end must not undo what was heard."""
        seen = self._tail + chunk
        if NOTICE in seen:
            seen = b""
            await noticed(self._server_uid)
        self._tail = seen[-len(NOTICE) + 1 :]
        await super().write(chunk, more=more)
