"""Clients that others wrote, each driven to a completed call by a consent that happens in between (contract §6).

`docs/guides/clients.md` tells the same as a table.
"""

import re
from pathlib import Path

import pytest

from tests.real_clients.conftest import Stage
from tests.real_clients.driving import Driven, started
from tests.real_clients.kinds import (
    BRIDGE_THAT_LOSES_LINKS,
    HEARS_OF_CONSENT,
    SHOWS_ERRORS,
    TAKES_LINKS,
    TOLD_TO_THE_MODEL,
    Kind,
)

pytestmark = pytest.mark.real_client
LINK = re.compile(r"http\S+/oauth/v1/authorize\?\S+")


def client_of(stage: Stage, who: str, folder: Path, kind: Kind, **environment: str) -> Driven:
    """Start somebody's client."""
    return started(kind, stage.gateway.mcp_url, stage.people[who].token, folder / who, **environment)


def expect_tools_of_somebody_not_connected(client: Driven) -> None:
    """Nothing fails: there is the one tool that gives the link, or what was kept of the server's own."""
    client.tell(do="tools")
    assert client.next("tools")["names"] in (["connect_account"], ["whoami", "echo", "count"])


def expect_refused(stage: Stage, who: str, link: str) -> None:
    """Somebody else's link is a 403 to whoever opens it."""
    page = stage.open(who, link)
    assert page.status == 403, repr(page)


@pytest.mark.parametrize("kind", TAKES_LINKS, ids=str)
def test_a_held_call_completes_by_the_consent_of_the_one_who_called(stage: Stage, tmp_path: Path, kind: Kind) -> None:
    with client_of(stage, "alice", tmp_path, kind) as alice, client_of(stage, "bob", tmp_path, kind) as bob:
        assert [client.next("connected").get("revision") for client in (alice, bob)] == [TAKES_LINKS[kind]] * 2
        expect_tools_of_somebody_not_connected(alice)
        links = {}
        for who, client in (("alice", alice), ("bob", bob)):
            client.tell(do="call", tool="whoami")
            asked = client.next("link")
            assert asked["message"] == "Connect your Demo authorization server account to use demo."
            links[who] = asked["url"]
        expect_refused(stage, "bob", links["alice"])
        stage.consent("alice", links["alice"])
        assert alice.next("result")["text"] == "alice"
        assert bob.is_silent()
        stage.consent("bob", links["bob"])
        assert bob.next("result")["text"] == "bob"


@pytest.mark.parametrize("kind", SHOWS_ERRORS, ids=str)
def test_the_next_call_completes_by_the_consent_that_an_error_asked_for(
    stage: Stage, tmp_path: Path, kind: Kind
) -> None:
    with client_of(stage, "alice", tmp_path, kind) as alice:
        assert alice.next("connected").get("revision") == SHOWS_ERRORS[kind]
        expect_tools_of_somebody_not_connected(alice)
        alice.tell(do="call", tool="whoami")
        error = alice.next("error")
        assert (error["code"], error["data"]["reason"]) == (-32010, "OAuthConnectionRequired")
        link = error["data"]["authorize_url"]
        assert f"Open this link in a browser: {link}" in error["message"]
        expect_refused(stage, "bob", link)
        stage.consent("alice", link)
        alice.tell(do="call", tool="whoami")
        assert alice.next("result")["text"] == "alice"


@pytest.mark.parametrize("kind", HEARS_OF_CONSENT, ids=str)
def test_a_refused_question_is_an_error_with_the_link_and_the_client_hears_of_the_consent(
    stage: Stage, tmp_path: Path, kind: Kind
) -> None:
    with client_of(stage, "alice", tmp_path, kind, MCP_ANSWER="decline") as alice:
        alice.next("connected")
        alice.tell(do="call", tool="whoami")
        link = alice.next("link")["url"]
        error = alice.next("error")
        [elicitation] = error["data"]["elicitations"]
        assert (error["code"], elicitation["url"]) == (-32042, link)
        stage.consent("alice", link)
        assert alice.next("settled")["id"] == elicitation["elicitationId"]
        alice.tell(do="call", tool="whoami")
        assert alice.next("result")["text"] == "alice"


@pytest.mark.parametrize("kind", TOLD_TO_THE_MODEL, ids=str)
def test_an_admin_can_have_the_link_told_to_the_model(stage: Stage, tmp_path: Path, kind: Kind) -> None:
    stage.deliver_consent("tool_result")
    with client_of(stage, "alice", tmp_path, kind) as alice:
        alice.next("connected")
        alice.tell(do="call", tool="whoami")
        [link] = LINK.findall(alice.next("tool error")["text"])
        stage.consent("alice", link)
        alice.tell(do="call", tool="whoami")
        assert alice.next("result")["text"] == "alice"


def test_a_bridge_that_loses_links_needs_the_plain_error(stage: Stage, tmp_path: Path) -> None:
    """mcp-remote repeats what its 2025 client declares, but puts no link to it when it speaks 2026-07-28 itself."""
    with client_of(stage, "alice", tmp_path, BRIDGE_THAT_LOSES_LINKS) as alice:
        alice.next("connected")
        alice.tell(do="call", tool="whoami")
        assert "which this proxy cannot put to a 2025-era client" in alice.next("error")["message"]
        stage.deliver_consent("error")
        alice.tell(do="call", tool="whoami")
        error = alice.next("error")
        assert error["code"] == -32010
        stage.consent("alice", error["data"]["authorize_url"])
        alice.tell(do="call", tool="whoami")
        assert alice.next("result")["text"] == "alice"
