"""The guarded client in the hands of the official SDK."""

from __future__ import annotations

import pytest
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client

from outbound.addresses import Policy
from outbound.errors import AddressNotAllowed, RedirectRefused, TimedOut, as_outbound_error
from outbound.mcp_http import guarded_mcp_client


async def failure_of(url, policy, seconds=5.0):
    """Open a session as discovery would and give the outbound error it ends in."""
    try:
        async with (
            guarded_mcp_client({"Authorization": "Bearer canary"}, seconds, policy=policy, ca_bundle="") as client,
            streamable_http_client(url, http_client=client) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
    except BaseException as error:
        return as_outbound_error(error)
    return None


@pytest.mark.threat("D05")
async def test_the_sdk_does_not_follow_a_redirect_even_within_the_origin(server):
    error = await failure_of(server.url("/redirect/307"), Policy.parse(server.open_for))
    assert type(error) is RedirectRefused
    assert len(server.requests) == 1


@pytest.mark.threat("E01")
async def test_the_sdk_reaches_no_denied_address(server):
    assert type(await failure_of(server.url(), Policy())) is AddressNotAllowed
    assert server.connections == 0


async def test_the_sdk_is_given_up_on_in_time(server):
    assert type(await failure_of(server.url("/silence"), Policy.parse(server.open_for), seconds=0.3)) is TimedOut
