"""`subscriptions/listen` of a 2026-07-28 caller, fed by the notifications of an upstream session."""

import asyncio
import contextlib
from typing import Any

from mcp import MCPError
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY, event_from_wire, event_matches
from mcp_types import SubscriptionFilter
from mcp_types.jsonrpc import INVALID_PARAMS, INVALID_REQUEST
from pydantic import ValidationError

from mcpservers.dataplane.bridging import shapes
from mcpservers.dataplane.bridging.answering import KEEP_ALIVE, Answering
from mcpservers.dataplane.bridging.attempts import attempted
from mcpservers.dataplane.bridging.call import Call, Json, Told
from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.bridging.far_sides import MOST_URIS
from mcpservers.dataplane.bridging.pool import Greet
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.elicitation import KEEP_ALIVE_SECONDS
from mcpservers.dataplane.jsonrpc import Message
from mcpservers.dataplane.visit import Visit

MAX_WAITING = 1000


async def serve(visit: Visit, message: Message, credential: Credential, purpose: str, greet: Greet) -> None:
    """Acknowledge what can be delivered, then deliver it until either side leaves. Raises Failure."""
    answering = Answering(visit.exchange)
    try:
        asked = SubscriptionFilter.model_validate(message.params.get("notifications"))
    except ValidationError:
        error = MCPError(code=INVALID_PARAMS, message="notifications must be a filter object")
        await answering.fail(message.id, error, is_modern=True)
        return
    if len(asked.resource_subscriptions or ()) > MOST_URIS:
        error = MCPError(code=INVALID_PARAMS, message=f"A subscription may name {MOST_URIS:,} resources")
        await answering.fail(message.id, error, is_modern=True)
        return
    if not answering.can_stream:
        error = MCPError(code=INVALID_REQUEST, message="Accept text/event-stream to listen")
        await answering.fail(message.id, error, is_modern=True)
        return

    async def listen(connection: Connection) -> Json:
        await _Listening(visit, message, answering, connection).run(_honored(asked, connection))
        return {}

    own = Call(message.method, message.params)
    await attempted(own, purpose, visit.plan, visit.caller, credential, greet, listen)


def _honored(asked: SubscriptionFilter, connection: Connection) -> SubscriptionFilter:
    """Return what of `asked` the upstream says that it announces."""
    capabilities: dict[str, Any] = connection.initialized.get("capabilities") or {}

    def announces(kind: str, member: str) -> bool:
        return connection.has_stream and bool((capabilities.get(kind) or {}).get(member))

    return SubscriptionFilter(
        tools_list_changed=asked.tools_list_changed and announces("tools", "listChanged") or None,
        prompts_list_changed=asked.prompts_list_changed and announces("prompts", "listChanged") or None,
        resources_list_changed=asked.resources_list_changed and announces("resources", "listChanged") or None,
        resource_subscriptions=asked.resource_subscriptions if announces("resources", "subscribe") else None,
    )


class _Listening:
    """One subscription, between the upstream's session and the caller's stream."""

    def __init__(self, visit: Visit, message: Message, answering: Answering, connection: Connection) -> None:
        self._visit, self._answering, self._connection = visit, answering, connection
        self._meta = {SUBSCRIPTION_ID_META_KEY: message.id}
        self._events: asyncio.Queue[Told] = asyncio.Queue(MAX_WAITING)
        self._honored, self._uris = SubscriptionFilter(), frozenset[str]()

    async def run(self, honored: SubscriptionFilter) -> None:
        self._honored, self._uris = honored, frozenset(honored.resource_subscriptions or ())
        self._connection.listeners.append(self._heard)
        try:
            await self._subscribe()
            shown = honored.model_dump(by_alias=True, mode="json", exclude_none=True)
            await self._write("notifications/subscriptions/acknowledged", {"notifications": shown})
            await self._deliver()
        finally:
            self._connection.listeners.remove(self._heard)
            await self._unsubscribe()

    async def _deliver(self) -> None:
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    told = await self._events.get()
            except TimeoutError:
                if not self._connection.is_open:  # the word of its end found no room
                    break
                await self._visit.exchange.write(KEEP_ALIVE)
                continue
            if not told.method:
                break
            await self._write(told.method, told.params)
        # Without a result: the client listens again and fetches what it depends on.
        await self._visit.exchange.write(b"", more=False)

    def _heard(self, method: str, params: Json) -> None:
        event = event_from_wire(method, params)
        if not method or (event is not None and event_matches(self._honored, self._uris, event)):
            with contextlib.suppress(asyncio.QueueFull):
                self._events.put_nowait(Told(method, params))

    async def _write(self, method: str, params: Json) -> None:
        meta = shapes.meta_of(params) | self._meta
        await self._answering.write({"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": meta}})

    async def _subscribe(self) -> None:
        for uri in self._uris:
            self._connection.subscribed[uri] += 1
            if self._connection.subscribed[uri] == 1:
                await self._say("resources/subscribe", uri)

    async def _unsubscribe(self) -> None:
        for uri in self._uris:
            self._connection.subscribed[uri] -= 1
            if not self._connection.subscribed[uri] and self._connection.is_open:
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(2):
                        await self._say("resources/unsubscribe", uri)

    async def _say(self, method: str, uri: str) -> None:
        with contextlib.suppress(MCPError):
            await self._connection.request(Call(method, {"uri": uri}), method, {"uri": uri})
