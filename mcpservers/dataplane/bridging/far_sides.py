"""What a session's request becomes at an upstream of 2026-07-28, and at one of 2024-11-05 over HTTP+SSE."""

import asyncio
from typing import Any, Protocol

from mcp import MCPError
from mcp.shared.subscriptions import LISTEN_STREAM_METHODS, SUBSCRIPTION_ID_META_KEY
from mcp_types import DiscoverResult
from mcp_types.jsonrpc import INVALID_REQUEST
from mcp_types.version import LATEST_MODERN_VERSION
from pydantic import ValidationError

from mcpservers.dataplane.bridging import modern_requests, shapes
from mcpservers.dataplane.bridging.call import Call, Json
from mcpservers.dataplane.bridging.connection import Connection
from mcpservers.dataplane.bridging.handshake import greeting, no_greeting
from mcpservers.dataplane.bridging.pool import Greet
from mcpservers.dataplane.bridging.talks import Talk
from mcpservers.dataplane.jsonrpc import Failure, Reason

LISTEN_AGAIN_SECONDS = 1.0
# As many resources as one session may follow, and as long as an address of one may be.
MOST_URIS, LONGEST_URI = 1000, 2048
ALL_LISTS = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}


class FarSide(Protocol):
    """One kind of upstream behind a session caller."""

    upstream_version: str

    def greet(self, hello: Json) -> Greet:
        """Return what begins a connection for a client that said `hello`."""

    async def initialized(self, connection: Connection, hello: Json) -> Json:
        """Return the `initialize` result for the caller."""

    def local(self, talk: Talk, method: str, params: Json) -> Json | None:
        """Return the result of a request that ends here; None for one that goes upstream. Raises MCPError."""

    async def perform(self, connection: Connection, call: Call, talk: Talk) -> Json:
        """Make the call and return its result for the caller."""

    async def notify(self, connection: Connection, method: str, params: Json) -> None:
        """Pass a client's notification on."""

    async def listen(self, connection: Connection, call: Call, talk: Talk) -> Json:
        """Tell `call` what the upstream says by itself, until the connection ends."""


class ModernSide:
    """Behind it, every request stands alone; what a session remembers is kept here and said with each."""

    upstream_version = LATEST_MODERN_VERSION

    def greet(self, hello: Json) -> Greet:
        """Begin nothing: there is no session."""
        return no_greeting

    async def initialized(self, connection: Connection, hello: Json) -> Json:
        """Say at `initialize` what the upstream says to `server/discover`."""
        try:
            found = await modern_requests.discover(connection, shapes.envelope_of(hello, ""))
            DiscoverResult.model_validate(found)
        except (MCPError, ValidationError):
            text = "The MCP server does not say what it offers."
            raise Failure(Reason.UpstreamUnavailable, text, "discover_refused") from None
        return shapes.initialized(found, hello, connection.plan.name)

    def local(self, talk: Talk, method: str, params: Json) -> Json | None:
        """Answer what 2026-07-28 has no request for."""
        uri = params.get("uri")
        match method:
            case "ping":
                return {}
            case "logging/setLevel":
                talk.log_level = str(params.get("level", ""))[:32]
            case "resources/subscribe" if isinstance(uri, str):
                if len(uri) > LONGEST_URI or (len(talk.uris) >= MOST_URIS and uri not in talk.uris):
                    text = f"A session may follow {MOST_URIS:,} resources of {LONGEST_URI:,} characters each."
                    raise MCPError(code=INVALID_REQUEST, message=text)
                talk.uris.add(uri)
                talk.uris_changed.set()
            case "resources/unsubscribe" if isinstance(uri, str):
                talk.uris.discard(uri)
                talk.uris_changed.set()
            case _:
                return None
        return {}

    async def perform(self, connection: Connection, call: Call, talk: Talk) -> Json:
        """Make the call with everything that the session knows of its client."""
        params = shapes.params_for_modern(call.params, self._envelope(talk), call.token)
        return shapes.result_for_session(call.method, await modern_requests.request(connection, call, params))

    async def notify(self, connection: Connection, method: str, params: Json) -> None:
        """Drop it: 2026-07-28 has no notifications from clients over HTTP."""

    async def listen(self, connection: Connection, call: Call, talk: Talk) -> Json:
        """Listen to the lists and to the resources that the session follows, anew whenever these change."""

        def tell(method: str, params: Json) -> None:
            if method in LISTEN_STREAM_METHODS:
                call.tell(method, _without_subscription(params))

        connection.listeners.append(tell)
        try:
            while connection.is_open:
                talk.uris_changed.clear()
                await self._listen_once(connection, talk)
        finally:
            connection.listeners.remove(tell)
        return {}

    async def _listen_once(self, connection: Connection, talk: Talk) -> None:
        own = Call("subscriptions/listen", {})
        filter: dict[str, Any] = {**ALL_LISTS, **({"resourceSubscriptions": sorted(talk.uris)} if talk.uris else {})}
        heard = asyncio.ensure_future(modern_requests.listen(connection, own, filter, self._envelope(talk)))
        changed = asyncio.ensure_future(talk.uris_changed.wait())
        ended = asyncio.ensure_future(connection.until_ended())
        try:
            await asyncio.wait([heard, changed, ended], return_when=asyncio.FIRST_COMPLETED)
            if heard.done() and not changed.done() and not ended.done():
                heard.result()
                await asyncio.wait([changed, ended], timeout=LISTEN_AGAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (heard, changed, ended):
                task.cancel()
            await asyncio.wait([heard, changed, ended], timeout=2)

    @staticmethod
    def _envelope(talk: Talk) -> Json:
        return shapes.envelope_of(talk.session.initialize_params, talk.log_level)


class SseSide:
    """Behind it is a session of its own, on one stream for everything."""

    upstream_version = ""

    def greet(self, hello: Json) -> Greet:
        """Initialize with the client's own parameters."""
        return greeting(hello)

    async def initialized(self, connection: Connection, hello: Json) -> Json:
        """Say what the upstream said."""
        return connection.initialized

    def local(self, talk: Talk, method: str, params: Json) -> Json | None:
        """Answer nothing here."""
        return None

    async def perform(self, connection: Connection, call: Call, talk: Talk) -> Json:
        """Make the call as it came."""
        params = shapes.params_for_session(call.params, call.token)
        return await connection.request(call, call.method, params or None)

    async def notify(self, connection: Connection, method: str, params: Json) -> None:
        """Pass it on as it came."""
        await connection.notify(method, params or None)

    async def listen(self, connection: Connection, call: Call, talk: Talk) -> Json:
        """Tell everything that belongs to no call, and ask what belongs to none."""

        def tell(method: str, params: Json) -> None:
            if method:
                call.tell(method, params)

        connection.listeners.append(tell)
        connection.unprompted = call
        try:
            await connection.until_ended()
        finally:
            connection.listeners.remove(tell)
            connection.unprompted = None
        return {}


def _without_subscription(params: Json) -> Json:
    meta = {name: value for name, value in shapes.meta_of(params).items() if name != SUBSCRIPTION_ID_META_KEY}
    kept = {name: value for name, value in params.items() if name != "_meta"}
    return {**kept, "_meta": meta} if meta else kept
