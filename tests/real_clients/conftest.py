"""A real gateway with the demo's authorization server and MCP server, and two people with a browser each."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from aigateway.demo.administration import ADMIN, Person, api, make_people, register
from aigateway.demo.browser import Browser, Page
from aigateway.demo.farside import FarSide, start_far_side
from aigateway.demo.gateway import DemoGateway, redirect_uri, start_gateway
from aigateway.demo.processes import ProcessTree, free_port


@dataclass(frozen=True)
class Stage:
    """What the clients meet."""

    gateway: DemoGateway
    far: FarSide
    people: dict[str, Person]
    browsers: dict[str, Browser]

    def open(self, who: str, link: str) -> Page:
        """Open a link in somebody's browser, signed in to the gateway as themselves."""
        browser = self.browsers[who]
        page = browser.open(link)
        return browser.sign_in(who, self.people[who].password) if browser.asks_to_sign_in() else page

    def consent(self, who: str, link: str) -> None:
        """Go the whole way from the link to the page that says one may go back."""
        browser = self.browsers[who]
        self.open(who, link)
        browser.press("Connect Demo authorization server")
        if browser.asks_to_sign_in():
            browser.sign_in(who, self.far.passwords[who])
        done = browser.press("Allow")
        assert done.url.startswith(f"{self.gateway.url}/oauth/v1/done/"), repr(done)

    def deliver_consent(self, how: str) -> None:
        """Let the admin choose the rung (`consent_delivery`)."""
        api(self.gateway, self.people[ADMIN], "PATCH", "mcp-servers/demo/", {"consent_delivery": how})


@pytest.fixture(scope="session")
def whole_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, port = tmp_path_factory.mktemp("real-clients"), free_port()
    with ProcessTree(folder / "logs", say=lambda line: None) as tree, Browser() as alices, Browser() as bobs:
        far = start_far_side(tree, folder / "farside", redirect_uris=[redirect_uri(port)], access_token_seconds=600)
        gateway = start_gateway(tree, folder, far, port=port)
        people = make_people(gateway)
        register(gateway, far, people[ADMIN])
        yield Stage(gateway, far, people, {"alice": alices, "bob": bobs})
        assert tree.ended() == []
    assert "Traceback" not in gateway.log.read_text()


@pytest.fixture
def stage(whole_stage: Stage) -> Iterator[Stage]:
    """The stage, with nobody connected when the test begins."""
    yield whole_stage
    whole_stage.deliver_consent("auto")
    for who in ("alice", "bob"):
        api(whole_stage.gateway, whole_stage.people[who], "DELETE", "connections/demo/")
