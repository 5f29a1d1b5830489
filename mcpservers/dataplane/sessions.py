"""MCP sessions of 2025-03-26 to 2025-11-25: our id towards the caller, the upstream's behind it (contract §6).

A session is bound to one user and one server; anybody else's id is unknown (D22). It is kept in the database,
so that it survives a restart and a move to another replica; a copy in memory keeps the call path free of queries. That
another replica has ended it is noticed when its use is written down, `ACTIVITY_FLUSH_SECONDS` later at the most.
"""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from connections.database import run_in_thread
from mcpservers.dataplane import kept_sessions
from mcpservers.dataplane.per_user import PerUser
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.models import McpSession

IN_MEMORY = 20_000


@dataclass(slots=True)
class Session:
    """One caller's session. `upstream_id` is None until it is open, "" where the upstream keeps none.

    `offered` are the elicitations whose completion the client is owed, `asked` our open questions by request id;
    both belong to the replica that asked.
    """

    id: str
    pk: int
    user_id: int
    server_uid: UUID
    initialize_params: dict[str, Any] = field(repr=False)
    protocol_version: str = ""
    upstream_id: str | None = field(default=None, repr=False)
    upstream_protocol_version: str = ""
    opening: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    offered: list[str] = field(default_factory=list)
    asked: dict[str, asyncio.Future[str]] = field(default_factory=dict, repr=False)

    @property
    def is_open(self) -> bool:
        """Tell whether the upstream knows of it."""
        return self.upstream_id is not None


class Sessions:
    """The sessions that this process has seen."""

    def __init__(self) -> None:
        self._by_id: PerUser[Session] = PerUser(in_all=IN_MEMORY, per_user=kept_sessions.KEPT_PER_USER)

    async def create(self, caller: Caller, plan: Plan, initialize_params: dict[str, Any], **fields: str) -> Session:
        """Begin a session with `protocol_version` or, where the upstream has begun it already, `upstream_id`."""
        id = secrets.token_urlsafe(24)
        row = await run_in_thread(
            kept_sessions.keep,
            id,
            user_id=caller.user_id,
            server_uid=plan.server_uid,
            initialize_params=initialize_params,
            **fields,
        )
        return self._remember(id, row, fields.get("upstream_id"))

    async def find(self, id: str, caller: Caller, plan: Plan) -> Session | None:
        """Return the caller's session for this server; None when it is unknown, idle too long or someone else's."""
        session = self._by_id.get(id)
        if session is not None and session.pk in kept_sessions.gone:
            # Another process has ended it: what is open here goes with it.
            kept_sessions.gone.pop(session.pk, None)
            self._by_id.pop(id)
            return None
        if session is None:
            row = await run_in_thread(kept_sessions.find, id, user_id=caller.user_id, server_uid=plan.server_uid)
            if row is None:
                return None
            session = self._remember(id, row, kept_sessions.open_upstream_id(row))
        if (session.user_id, session.server_uid) != (caller.user_id, plan.server_uid):
            return None
        kept_sessions.used(session.pk)
        self._by_id.used(id)
        return session

    async def opened(self, session: Session, *, upstream_id: str, protocol_version: str) -> None:
        """Write down that the session is open; where another replica was first, its upstream session is used."""
        is_ours = await run_in_thread(
            kept_sessions.opened, session.pk, upstream_id=upstream_id, protocol_version=protocol_version
        )
        session.upstream_id, session.upstream_protocol_version = upstream_id, protocol_version
        if not is_ours:
            self._by_id.pop(session.id)

    async def end(self, session: Session) -> None:
        """Forget a session, here and everywhere."""
        self._by_id.pop(session.id)
        await run_in_thread(kept_sessions.end, session.pk)

    def clear(self) -> None:
        """Forget the copies in memory."""
        self._by_id.clear()

    def _remember(self, id: str, row: McpSession, upstream_id: str | None) -> Session:
        session = Session(
            id=id,
            pk=row.pk,
            user_id=row.user_id,
            server_uid=row.server_uid,
            initialize_params=row.initialize_params,
            protocol_version=row.protocol_version,
            upstream_id=upstream_id,
            upstream_protocol_version=row.upstream_protocol_version,
        )
        self._by_id.put(id, row.user_id, session)
        return session


sessions = Sessions()
