"""The programs among the snippets: each lists the tools of a server, with the official SDKs or with curl alone."""

import json
from collections.abc import Mapping

VERSION = "2026-07-28"
PYTHON = """\
import asyncio
from os import environ

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

HEADERS = {{{headers}}}


async def main():
    async with (
        httpx2.AsyncClient(headers=HEADERS, timeout=60) as http,
        Client(streamable_http_client("{url}", http_client=http)) as client,
    ):
        for tool in (await client.list_tools()).tools:
            print(tool.name)


asyncio.run(main())"""
TYPESCRIPT = """\
import {{ Client, StreamableHTTPClientTransport }} from "@modelcontextprotocol/client";

const headers = {{ {headers} }};
const client = new Client({{ name: "my-agent", version: "1.0.0" }});
await client.connect(
  new StreamableHTTPClientTransport(new URL("{url}"), {{ requestInit: {{ headers }} }}),
);
for (const tool of (await client.listTools()).tools) console.log(tool.name);
await client.close();"""


def python(url: str, headers: Mapping[str, str]) -> str:
    """Return a program for the Python SDK; the values of `headers` are the insides of an f-string."""
    return PYTHON.format(url=url, headers=", ".join(f'"{name}": f"{value}"' for name, value in headers.items()))


def typescript(url: str, headers: Mapping[str, str]) -> str:
    """Return a module for the TypeScript SDK; the values of `headers` are the insides of a template literal."""
    return TYPESCRIPT.format(url=url, headers=", ".join(f'"{name}": `{value}`' for name, value in headers.items()))


def curl(url: str, headers: Mapping[str, str]) -> str:
    """Return a command that needs no session, since a request of 2026-07-28 stands alone."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "curl", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
    sent = {
        **headers,
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": "tools/list",
    }
    lines = [f"curl --fail-with-body {url}", *(f'-H "{name}: {value}"' for name, value in sent.items())]
    return " \\\n  ".join([*lines, f"-d '{json.dumps(body)}'"])
