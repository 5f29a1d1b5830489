"""A tool of a real server, through the API: token, right, data plane, answer."""

from django.contrib.auth.models import User

from mcpservers.models import MCPServer
from tests import factories
from tests.api import SERVERS, send
from tests.mcpservers.test_discovery import sdk_url, server

__all__ = ["sdk_url", "server"]


def test_tools_are_refreshed_and_called(server: MCPServer, alice: User) -> None:
    factories.allow(alice, server, "change")
    refreshed = send(alice, "post", f"{SERVERS}tools/refresh-tools/")
    assert [tool["name"] for tool in refreshed.json()["tools"]] == ["shout"]
    assert refreshed.json()["tools_refreshed_at"].endswith("Z")
    answer = send(alice, "post", f"{SERVERS}tools/tools/shout/call/", {"arguments": {"text": "hello"}})
    assert answer.status_code == 200
    assert answer.json()["result"]["content"][0]["text"] == "HELLO"


def test_a_call_without_a_connection_says_so_in_the_answer(transactional_db: None, alice: User) -> None:
    server = factories.make_server(provider=factories.make_provider())
    factories.allow(alice, server, "view", "use")
    answer = send(alice, "post", f"{SERVERS}tools/tools/whoami/call/", {})
    assert answer.status_code == 200
    assert answer.json()["error"]["data"]["reason"] == "OAuthConnectionRequired"
