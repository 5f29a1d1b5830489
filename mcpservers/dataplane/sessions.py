"""MCP sessions of 2025-03-26 to 2025-11-25: our id towards the caller, the upstream's behind it (contract §6).

A session is bound to one user and one server; anybody else's id is unknown (D22). It lives in this process:
after a restart the caller hears 404 and initializes again, as the specification has it.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings

from mcpservers.dataplane.routing import Caller, Plan

KEPT = 20_000
KEPT_PER_USER = 200


@dataclass(slots=True)
class Session:
    """One caller's session. `upstream_id` is None until it is open, "" where the upstream keeps none.

    `offered` are the elicitations whose completion the client is owed, `asked` our open questions by request id.
    """

    id: str
    user_id: int
    server_uid: UUID
    initialize_params: dict[str, Any] = field(repr=False)
    protocol_version: str = ""
    upstream_id: str | None = field(default=None, repr=False)
    upstream_protocol_version: str = ""
    used_at: float = field(default_factory=time.monotonic)
    opening: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    offered: list[str] = field(default_factory=list)
    asked: dict[str, asyncio.Future[str]] = field(default_factory=dict, repr=False)

    @property
    def is_open(self) -> bool:
        """Tell whether the upstream knows of it."""
        return self.upstream_id is not None


class Sessions:
    """The sessions of this process, the least recently used first."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Session] = OrderedDict()

    def create(self, caller: Caller, plan: Plan, initialize_params: dict[str, Any]) -> Session:
        """Begin a session that the upstream has not heard of yet."""
        self._drop_old(caller.user_id)
        session = Session(secrets.token_urlsafe(24), caller.user_id, plan.server_uid, initialize_params)
        self._by_id[session.id] = session
        return session

    def find(self, id: str, caller: Caller, plan: Plan) -> Session | None:
        """Return the caller's session for this server; None when it is unknown, idle too long or someone else's."""
        session = self._by_id.get(id)
        if session is None or (session.user_id, session.server_uid) != (caller.user_id, plan.server_uid):
            return None
        now = time.monotonic()
        if now - session.used_at > settings.AIGW_SESSION_IDLE_SECONDS:
            self.end(session)
            return None
        session.used_at = now
        self._by_id.move_to_end(id)
        return session

    def end(self, session: Session) -> None:
        """Forget a session."""
        self._by_id.pop(session.id, None)

    def _drop_old(self, user_id: int) -> None:
        own = [session for session in self._by_id.values() if session.user_id == user_id]
        for session in own[: max(0, len(own) - KEPT_PER_USER + 1)]:
            self.end(session)
        while len(self._by_id) >= KEPT:
            self._by_id.popitem(last=False)


sessions = Sessions()
