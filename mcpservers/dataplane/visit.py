"""A request that may be served, and what every way of serving it shares."""

import math
from dataclasses import dataclass, field

from mcpservers.dataplane import consent_offer, credentials, elicitation, jsonrpc, passthrough
from mcpservers.dataplane.course import Course
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.exchange import Exchange
from mcpservers.dataplane.jsonrpc import Failure, Message, Reason
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.dataplane.sessions import Session, sessions

SESSION_HEADER = "mcp-session-id"
TRACING = ("traceparent", "tracestate")
NO_MESSAGE = Message(method="", id=None, has_id=True, params={})


@dataclass(slots=True)
class Visit:
    """Whose request it is, to which server, and what it came with: the API token, or a browser's session."""

    exchange: Exchange
    plan: Plan
    caller: Caller
    token: str = field(repr=False)
    course: Course = field(default_factory=Course, repr=False)

    def names_session(self) -> bool:
        """Tell whether the request names a session."""
        return bool(self.exchange.header(SESSION_HEADER))

    async def session(self) -> Session | None:
        """Return the caller's session that the request names, if it is theirs and this server's."""
        id = self.exchange.header(SESSION_HEADER)
        return await sessions.find(id, self.caller, self.plan) if id else None

    async def credential(self) -> Credential:
        """Return what authenticates this request at the upstream. Raises Failure."""
        if self.plan.mode == "token_passthrough":
            return passthrough.credential(self.exchange.raw_headers, self.plan.name, self.token)
        return await credentials.resolve(self.plan, self.caller)

    def tracing(self) -> dict[str, str]:
        """Return the headers that tie this request to what it is part of (W3C Trace Context)."""
        return {name: value for name in TRACING if (value := self.exchange.header(name))}

    def require_enabled(self) -> None:
        """Raise Failure `ServerDisabled` unless the server is enabled."""
        if not self.plan.enabled:
            raise Failure(Reason.ServerDisabled, f"The MCP server {self.plan.name} is disabled.")

    async def fail(self, failure: Failure, message: Message) -> None:
        """End the request with an error, or its stream where one has begun."""
        if self.exchange.has_answered and not self.exchange.is_event_stream:
            return
        retry = failure.retry_after_seconds
        if not message.has_id and retry is None:
            await self.exchange.answer(202)
            return
        body = await consent_offer.render(failure, message, self.plan, self.caller)
        if self.exchange.is_event_stream:
            await self.exchange.write(elicitation.event(body), more=False)
        else:
            fields = [] if retry is None else [(b"retry-after", b"%d" % math.ceil(retry))]
            await self.exchange.answer(failure.http_status, body, fields)

    async def no_such_session(self, message: Message) -> None:
        """Answer 404: the client initializes again (MCP 2025-11-25, "Session Management")."""
        text = "There is no such session. Initialize again."
        await self.exchange.answer(404, jsonrpc.error(message.id, jsonrpc.SESSION_NOT_FOUND, text))
