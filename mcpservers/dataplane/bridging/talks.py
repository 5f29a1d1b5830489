"""What this process holds of a session whose other end is bridged: its calls, its open questions, what it follows.

The session itself is in the database (`sessions`); of this here nothing survives a restart but what the client sends
again: a call is gone then, a log level or a subscription has to be set anew.
"""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from mcp import MCPError
from mcp_types.jsonrpc import INVALID_REQUEST

from mcpservers.dataplane.bridging.call import Asked, Call
from mcpservers.dataplane.bridging.errors import CannotBridge
from mcpservers.dataplane.jsonrpc import Id, Message
from mcpservers.dataplane.kept_sessions import KEPT_PER_USER
from mcpservers.dataplane.per_user import PerUser
from mcpservers.dataplane.sessions import Session

KEPT = 20_000


@dataclass(slots=True)
class Talk:
    """One session's state in this process."""

    session: Session
    calls: dict[tuple[type, Any], Call] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    uris: set[str] = field(default_factory=set)
    uris_changed: asyncio.Event = field(default_factory=asyncio.Event)
    log_level: str = ""

    @property
    def purpose(self) -> str:
        """Return what the session's connection is kept for."""
        return purpose_of(self.session)

    def put(self, asked: Asked) -> str:
        """Remember a question; return the id under which the client answers it."""
        id = f"aigateway-{secrets.token_urlsafe(9)}"
        self.asked[id] = asked
        late = CannotBridge("Nobody answered what the MCP server asked.")
        seconds = settings.AIGW_BRIDGED_ANSWER_SECONDS
        expiry = asyncio.get_running_loop().call_later(seconds, lambda: asked.answer.set_exception(late))

        def settled(_: object) -> None:
            expiry.cancel()
            self.asked.pop(id, None)

        asked.answer.add_done_callback(settled)
        return id

    def take(self, message: Message) -> None:
        """Take the client's answer to a question; a second one, or one to nothing, is ignored."""
        asked = self.asked.pop(message.id, None) if isinstance(message.id, str) else None
        if asked is None or asked.answer.done():
            return
        if isinstance(message.answer, dict):
            asked.answer.set_result(message.answer)
        else:
            asked.answer.set_exception(MCPError(code=INVALID_REQUEST, message="The client refused to answer."))

    def call_of(self, id: Id) -> Call | None:
        """Return the call with this id; 1 and "1" are two ids."""
        return self.calls.get((type(id), id))


_talks: PerUser[Talk] = PerUser(in_all=KEPT, per_user=KEPT_PER_USER)


def talk_of(session: Session) -> Talk:
    """Return the state of a session, begun when it is first needed."""
    talk = _talks.get(session.id)
    if talk is None:
        talk = Talk(session)
        _talks.put(session.id, session.user_id, talk)
    _talks.used(session.id)
    return talk


def end(session: Session) -> list[Call]:
    """Forget a session; return the calls that are still under way."""
    own = _talks.pop(session.id)
    return list(own.calls.values()) if own is not None else []


def clear() -> None:
    """Forget everything, as a restart does."""
    _talks.clear()


def purpose_of(session: Session) -> str:
    """Return what the connection of a session is kept for."""
    return f"session:{session.id}"
