"""The demo's MCP server, through the official client over TLS."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
import requests
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from aigateway.demo.farside import FarSide
from tests.demo.oauth_client import Consent, post, tokens_of

REVISIONS = [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")]


@asynccontextmanager
async def connected(far_side: FarSide, token: str, mode: str) -> AsyncIterator[Client]:
    tls = ssl.create_default_context(cafile=far_side.ca_bundle)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(verify=tls, headers=headers, trust_env=False) as http,
        Client(streamable_http_client(far_side.mcp_url, http_client=http), mode=mode) as client,
    ):
        yield client


def initialize(far_side: FarSide, token: str | None, revision: str = "2025-06-18") -> requests.Response:
    headers = {"Accept": "application/json, text/event-stream"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    return requests.post(
        far_side.mcp_url,
        json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params},
        headers=headers,
        verify=str(far_side.ca_bundle),
        timeout=10,
    )


def test_no_token_and_a_made_up_token_are_refused(far_side: FarSide) -> None:
    for token in (None, "made-up"):
        response = initialize(far_side, token)
        assert response.status_code == 401
        assert "resource_metadata=" in response.headers["WWW-Authenticate"]


def test_a_revoked_token_is_refused_at_once(far_side: FarSide) -> None:
    token = tokens_of(far_side, "alice")["access_token"]
    assert initialize(far_side, token).status_code == 200
    post(far_side, "revoke", {"token": token})
    assert initialize(far_side, token).status_code == 401


def test_a_token_without_the_scope_is_refused(far_side: FarSide) -> None:
    consent = Consent(far_side)
    code = consent.answer("alice", "Allow")["code"]
    tokens = consent.exchange(code).json()
    narrowed = post(
        far_side,
        "token",
        {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "scope": "profile"},
    ).json()
    response = initialize(far_side, narrowed["access_token"])
    assert (response.status_code, response.json()["error"]) == (403, "insufficient_scope")


def test_the_certificate_is_not_trusted_without_the_throwaway_authority(far_side: FarSide) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(far_side.mcp_url, timeout=10)


@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_session_opens_in_the_revision_that_the_client_names(far_side: FarSide, revision: str) -> None:
    response = initialize(far_side, tokens_of(far_side, "bob")["access_token"], revision)
    assert f'"protocolVersion":"{revision}"' in response.text
    assert response.headers["Mcp-Session-Id"]


@pytest.mark.parametrize(("mode", "revision"), REVISIONS)
async def test_tools_answer_in_every_revision(far_side: FarSide, mode: str, revision: str) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    async with connected(far_side, tokens_of(far_side, "bob")["access_token"], mode) as client:
        assert client.protocol_version == revision
        assert {tool.name for tool in (await client.list_tools()).tools} == {"whoami", "echo", "count"}
        assert text_of(await client.call_tool("whoami")) == "bob"
        assert text_of(await client.call_tool("echo", {"text": "grüße"})) == "grüße"
        arguments = {"to": 3, "pause_seconds": 0.01}
        assert text_of(await client.call_tool("count", arguments, progress_callback=hear)) == "counted to 3"
    assert heard == [1, 2, 3]


def text_of(result: Any) -> str:
    assert not result.is_error
    text: str = result.content[0].text
    return text
