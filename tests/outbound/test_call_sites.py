"""Nobody opens a way out beside the guard."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["aigateway", "audit", "changes", "clients", "connections", "mcpservers", "providers", "vault", "aigw"]

# The demo's authorization and MCP servers and its walk are outsiders: programs
# of their own, which reach only the loopback ports they were given.
OUTSIDERS = ROOT / "aigateway" / "demo"

# `aigw` is a client of our own API, run by the user on another machine.
CLIENT = ROOT / "aigw"

# It asks the gateway that it has just started, at the address it bound, whether it is ready.
ASKS_ITSELF = {ROOT / "aigateway" / "management" / "commands" / "serve.py": {"http.client"}}

OPENS_A_CONNECTION = {
    "aiohttp.ClientSession",
    "aiohttp.request",
    "aiohttp.TCPConnector",
    "httpx2.AsyncClient",
    "httpx2.Client",
    "mcp.shared._httpx_utils.create_mcp_http_client",
    "requests.Session",
    "requests.session",
    "requests.delete",
    "requests.get",
    "requests.head",
    "requests.options",
    "requests.patch",
    "requests.post",
    "requests.put",
    "requests.request",
    "socket.create_connection",
    "asyncio.open_connection",
    "urllib.request.urlopen",
}
LOOP_METHODS = {"create_connection", "create_unix_connection", "create_datagram_endpoint", "sock_connect"}
NEVER_IMPORTED = {"http.client", "httpx", "httpcore", "httpcore2", "urllib.request", "urllib3"}


def modules() -> list[Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [path for path in found if not path.is_relative_to(OUTSIDERS) and not path.is_relative_to(CLIENT)]


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Give each imported name as (the name used here, the full dotted name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def annotations(tree: ast.AST) -> Iterator[ast.AST]:
    """Give every type annotation: naming a class there opens nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation


def ways_out(source: str) -> set[str]:
    """Name what the source opens without the guard."""
    tree = ast.parse(source)
    names = dict(imported(tree))
    found = {
        full for full in names.values() if any(full == name or full.startswith(f"{name}.") for name in NEVER_IMPORTED)
    }
    typing_only = {id(part) for annotation in annotations(tree) for part in ast.walk(annotation)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in typing_only:
            head, dot, rest = ast.unparse(node).partition(".")
            found |= {f"{names.get(head, head)}{dot}{rest}"} & OPENS_A_CONNECTION
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & LOOP_METHODS
    uses_oauth_session = "requests_oauthlib.OAuth2Session" in names.values()
    if uses_oauth_session and not any(full.startswith("outbound.") for full in names.values()):
        found.add("requests_oauthlib.OAuth2Session")
    return found


@pytest.mark.threat("E01")
@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_reaches_out_through_the_guard_only(path):
    assert ways_out(path.read_text()) - ASKS_ITSELF.get(path, set()) == set()


@pytest.mark.parametrize(
    "source",
    [
        "import requests\nrequests.get(url)",
        "from requests import Session as S\nS()",
        "import aiohttp as a\na.ClientSession()",
        "import httpx2\nhttpx2.AsyncClient()",
        "from urllib.request import urlopen",
        "import http.client",
        "import asyncio\nasyncio.get_running_loop().create_connection(Protocol, host, 443)",
        "from requests_oauthlib import OAuth2Session\nOAuth2Session('x')",
    ],
)
def test_the_search_for_ways_out_finds(source):
    assert ways_out(source)
