"""One real gateway process in front of MCP servers that misbehave by the name of the tool that is called."""

import asyncio
import contextlib
import http.client
import json
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.aigateway import gateways
from tests.fakes.serving import serving

MEGABYTE = 1024 * 1024
SEED = """
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm
from clients import tokens
from mcpservers.models import MCPServer
servers = [MCPServer.objects.create(name=name, url={url!r}, auth={{"mode": mode}}) for name, mode in {servers!r}]
for number in range({users}):
    user = User.objects.create_user(f"user-{{number}}")
    for server in servers:
        assign_perm("use_mcpserver", user, server)
    print(tokens.create(user, name="test")[1])
"""


class Upstream:
    """`open` streams, `seen` calls; `sent` bytes of what never ends. The tool's name says what comes."""

    def __init__(self) -> None:
        self.open = self.seen = self.sent = 0
        self._is_let_go = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        message = json.loads(body) if body else {"method": "GET", "params": {"name": "stream"}}
        self.seen += 1
        headers = dict(scope["headers"])
        name, _, amount = message.get("params", {}).get("name", "echo").partition("-")
        gone = asyncio.ensure_future(_left(receive))
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError):
                await self._serve(name, int(amount or 0), message, headers, send, gone)
        finally:
            self.open -= 1
            gone.cancel()

    def let_go(self) -> None:
        """Answer what hangs."""
        self._is_let_go = True

    async def _serve(self, name: str, amount: int, message: Any, headers: Any, send: Any, gone: Any) -> None:
        async def piece(data: bytes, *, more: bool = True) -> None:
            self.sent += len(data)
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async def start(kind: bytes) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})

        if name == "hang":
            self._is_let_go = False
            while not gone.done() and not self._is_let_go:
                await asyncio.wait([gone], timeout=0.1)
            await self._echo(message, headers, start, piece)
        elif name == "slow":
            await asyncio.wait([gone], timeout=amount / 1000)
            await self._echo(message, headers, start, piece)
        elif name == "stream":
            await start(b"text/event-stream")
            await piece(b"data: hello\n\n")
            await gone
        elif name in ("big", "event", "endless"):
            await start(b"application/json" if name == "big" else b"text/event-stream")
            await piece(b'data: {"a": "')
            chunk = b"data: 0123456789\n\n" * 3640 if name == "endless" else b"x" * 65536
            for _ in range(amount * 16):
                if gone.done():
                    return
                await piece(chunk)
            await piece(b'"}\n\n', more=False)
        else:
            await self._echo(message, headers, start, piece)

    async def _echo(self, message: Any, headers: Any, start: Any, piece: Any) -> None:
        said = headers.get(b"authorization", b"").decode()
        content = [{"type": "text", "text": said}, {"type": "text", "text": json.dumps(message.get("params", {}))}]
        await start(b"application/json")
        answer = {"jsonrpc": "2.0", "id": message.get("id"), "result": {"content": content}}
        await piece(json.dumps(answer).encode(), more=False)


async def _left(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Running:
    """The gateway, its callers' tokens, and what is behind it."""

    def __init__(self, gateway: gateways.Gateway, tokens: list[str], upstream: Upstream) -> None:
        self.gateway, self.tokens, self.upstream = gateway, tokens, upstream
        self.address = urlsplit(gateway.url())
        self.pid = gateway.children()[0]

    def post(
        self, tool: str, *, user: int = 0, server: str = "tools", id: Any = 1, timeout: float = 60, **headers: str
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Call a tool; return the connection and the answer, of which only the head has come."""
        message = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
        return self.request("POST", json.dumps(message).encode(), user, server, timeout, headers)

    def listen(self, *, user: int = 0) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Open the stream of a GET."""
        return self.request("GET", None, user, "tools", 60, {})

    def request(
        self, method: str, body: bytes | None, user: int, server: str, timeout: float, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Make a request."""
        client = http.client.HTTPConnection(str(self.address.hostname), self.address.port, timeout=timeout)
        fields = {
            "Authorization": f"Bearer {self.tokens[user]}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        client.request(method, f"/mcp/v1/{server}", body, fields)
        return client, client.getresponse()

    def sockets(self) -> int:
        """Return how many descriptors the web process holds that are sockets."""
        links = list(Path(f"/proc/{self.pid}/fd").iterdir())
        found = 0
        for link in links:
            with contextlib.suppress(OSError):
                found += str(link.readlink()).startswith("socket:")
        return found

    def threads(self) -> int:
        """Return how many threads the web process has."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def reset_peak(self) -> None:
        """Let the peak of memory begin at what is used now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_megabytes(self) -> float:
        """Return the most memory that was used since."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def running(folder: Path, *, users: int = 1, upstream: Upstream | None = None, **env: str) -> Iterator[Running]:
    """Run a gateway on SQLite with the servers `tools`, `quiet` and, with the caller's own token, `own`."""
    environment = gateways.environment(
        folder / "data", AIGW_OUTBOUND_ALLOW="127.0.0.1", AIGW_LOG_LEVEL="WARNING", **env
    )
    with ExitStack() as stack:
        upstream = upstream or Upstream()
        url = stack.enter_context(serving(upstream))
        gateway = stack.enter_context(gateways.serving(folder / "gateway.log", env=environment))
        gateway.url()
        servers = [("tools", "none"), ("quiet", "none"), ("own", "token_passthrough")]
        script = SEED.format(url=f"{url}/mcp", servers=servers, users=users)
        done = gateways.manage("shell", "-v0", "-c", textwrap.dedent(script), env=environment)
        assert done.returncode == 0, done.stderr
        yield Running(gateway, done.stdout.split()[-users:], upstream)
