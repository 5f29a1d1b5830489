"""Hide from a list of tools what its caller may not use, wherever the list comes from (D17).

Passed through, bridged or from the cache: every answer leaves by the exchange, so that is where it is filtered. Only a
caller under a policy pays for it; everybody else's answers pass as bytes.
"""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from mcpservers.dataplane import events, list_changes
from mcpservers.dataplane.exchange import Exchange, RawHeaders
from mcpservers.dataplane.jsonrpc import Failure, Message, Reason
from mcpservers.dataplane.visit import Visit
from mcpservers.dataplane.wrapping import WrappedExchange
from mcpservers.tool_policy.rules import Policy

LONGEST = 16 * 1024 * 1024
EVENT_STREAM = b"text/event-stream"


def of_request(visit: Visit, message: Message) -> Visit:
    """Return the visit whose answer, if it is a list of tools, holds what its caller may know of."""
    if message.method == "subscriptions/listen":
        return list_changes.heard(visit)
    return visit if message.method != "tools/list" else _filtered(visit)


def require_whole(visit: Visit) -> None:
    """Raise Failure when a list broke off before anything of it was sent."""
    if isinstance(visit.exchange, FilteredExchange) and visit.exchange.is_cut_off:
        raise _unreadable("broke_off")


def of_stream(visit: Visit) -> Visit:
    """Return the visit whose stream may replay lists: a client may ask for what it missed with `Last-Event-ID`."""
    return list_changes.heard(_filtered(visit))


def _filtered(visit: Visit) -> Visit:
    if visit.plan.policy is None:
        return visit
    return replace(visit, exchange=FilteredExchange(visit.exchange, visit.plan.policy, visit.plan.server_uid))


class FilteredExchange(WrappedExchange):
    """An exchange whose answers hold only the tools that the policy shows. What cannot be read is not sent on."""

    def __init__(self, inner: Exchange, policy: Policy, server_uid: UUID) -> None:
        asked = [field for field in inner.raw_headers if field[0] != b"accept-encoding"]
        super().__init__(inner, [*asked, (b"accept-encoding", b"identity")])
        self._policy, self._server_uid, self._is_surprised = policy, server_uid, False
        self._body: bytearray | None = None
        self._events = events.Splitter(LONGEST)
        self._passes, self._status, self._headers = False, 0, RawHeaders()

    @property
    def is_cut_off(self) -> bool:
        """Tell whether an answer was begun and never came to its end."""
        return self._body is not None

    async def start(self, status: int, headers: RawHeaders) -> None:
        """Begin the answer; one whole JSON answer is begun when it has been read. Raises Failure."""
        fields = dict(headers)
        kind = fields.get(b"content-type", b"")
        self._passes, self._body = status >= 400, None
        if not self._passes and fields.get(b"content-encoding", b"identity") != b"identity":
            raise _unreadable("encoded")
        self._headers = [field for field in headers if field[0] != b"content-length"]
        if self._passes:
            await super().start(status, headers)
        elif kind.startswith(EVENT_STREAM):
            await super().start(status, self._headers)
        else:
            self._status, self._body = status, bytearray()

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send on what of the piece may be seen. Raises Failure."""
        if self._passes:
            await super().write(chunk, more=more)
        elif self._body is None:
            await self._write_events(chunk, more)
        else:
            self._body += chunk
            if len(self._body) > LONGEST:
                raise _unreadable("too_large")
            if not more:
                await self._write_whole(bytes(self._body))

    async def _look_again(self) -> None:
        """Have discovery look at a tool that is described otherwise than approved."""
        if self._is_surprised:
            self._is_surprised = False
            await list_changes.noticed(self._server_uid)

    async def _write_whole(self, body: bytes) -> None:
        try:
            seen = self._seen(body) if body.strip() else body
        except (ValueError, RecursionError):
            raise _unreadable("no_json") from None
        self._body = None
        await self._look_again()
        await super().start(self._status, [*self._headers, (b"content-length", str(len(seen)).encode())])
        await super().write(seen, more=False)

    async def _write_events(self, chunk: bytes, more: bool) -> None:
        try:
            whole = self._events.feed(chunk)
        except events.TooLong:
            raise _unreadable("too_large") from None
        if not more:
            whole.append(self._events.rest())
        seen = b"".join(self._event(event) for event in whole)
        if seen or not more:
            await self._look_again()
            await super().write(seen, more=more)

    def _event(self, event: bytes) -> bytes:
        data = events.data_of(event)
        if b"{" not in data:
            return event
        try:
            return events.with_data(event, self._seen(data))
        except (ValueError, RecursionError):
            return b""

    def _seen(self, text: bytes) -> bytes:
        """Return the message without the tools that are hidden, written anew so that it reads in one way only."""
        decoded = json.loads(text.decode("utf-8", "replace").removeprefix("\ufeff"))
        return json.dumps(self._shown(decoded), separators=(",", ":"), allow_nan=False).encode()

    def _shown(self, decoded: Any) -> Any:
        if isinstance(decoded, list):
            return [self._shown(message) for message in decoded]
        result = decoded.get("result") if isinstance(decoded, dict) else None
        if not isinstance(result, dict) or not isinstance(result.get("tools"), list):
            return decoded
        self._is_surprised = self._is_surprised or self._policy.is_surprised(result["tools"])
        listed = {**result, "tools": self._policy.visible(result["tools"])}
        if "cacheScope" in listed or "resultType" in listed:
            listed["cacheScope"] = "private"
        return {**decoded, "result": listed}


def _unreadable(detail: str) -> Failure:
    text = "The MCP server's list of tools cannot be read, so nothing of it is shown."
    return Failure(Reason.UpstreamUnavailable, text, detail)
