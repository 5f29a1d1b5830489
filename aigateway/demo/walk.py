"""The main job, walked: consent once, the token kept sealed, the right one on every call.

Agents are official MCP clients, browsers speak real HTTP, and what is claimed of the authorization server is read from
its own ledger. Alice has two agents, one of the revision without sessions and one with; bob's has a session.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from aigateway.demo.administration import Person, api, connection
from aigateway.demo.agent import Agent, connected
from aigateway.demo.browser import Browser, Page
from aigateway.demo.farside import SCOPES, FarSide, LiveTokens
from aigateway.demo.gateway import DemoGateway
from aigateway.demo.leaks import issued_tokens, leaks
from aigateway.demo.report import DidNotHold, Report, expect

CONSENT_REASON, CONSENT_CODE = "OAuthConnectionRequired", -32010
TOOLS_SECONDS = 15
AT_ONCE = 8
NO_TOKENS = LiveTokens(access=0, refresh=0)


@dataclass(frozen=True)
class Stage:
    """Everything that the walk happens on."""

    gateway: DemoGateway
    far: FarSide
    people: dict[str, Person]
    authserver_database: Path


@dataclass
class Walk:
    """One walk over a fresh stage."""

    stage: Stage
    report: Report
    links: dict[str, str] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    digests: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Take every step; the report knows what held."""
        with ExitStack() as self._closing:
            self._portal = self._closing.enter_context(start_blocking_portal())
            self._browsers = {name: self._closing.enter_context(Browser()) for name in ("alice", "bob")}
            for claim, check in (
                ("the agents connect before anyone consented", self._agents_connect),
                ("alice calls whoami and is asked to connect", self._alice_is_asked),
                ("bob opens alice's link and is refused", self._bob_is_refused),
                ("alice opens it, sees what will be asked, consents", self._alice_consents),
                ("the same call answers", self._alice_is_answered),
                ("the server's own tools are listed now", self._tools_are_listed),
                ("bob's call still asks for bob's own consent", self._bob_is_asked),
                (f"the token expires, and {AT_ONCE} calls at once do not notice", self._token_is_refreshed),
                ("alice disconnects, and the authorization server confirms", self._alice_disconnects),
                ("her next call asks again", self._alice_is_asked_again),
                ("no credential is readable in the gateway's log or data", self._nothing_leaked),
            ):
                self.report.step(claim, check)

    def _agents_connect(self) -> str:
        for name, person, mode in (("alice", "alice", "auto"), ("alice's session", "alice", "legacy")):
            self._connect(name, person, mode)
        self._connect("bob", "bob", "legacy")
        revisions = {name: agent.revision for name, agent in self.agents.items()}
        expect(revisions == {"alice": "2026-07-28", "alice's session": "2025-11-25", "bob": "2025-11-25"}, revisions)
        offered = [agent.tools() for agent in self.agents.values()]
        expect(offered == [["connect_account"]] * 3, f"tools {offered}")
        return "revisions 2026-07-28 and 2025-11-25, one tool, connect_account"

    def _connect(self, name: str, person: str, mode: Any) -> None:
        gateway = self.stage.gateway
        connecting = connected(self._portal, gateway.mcp_url, self.stage.people[person].token, mode)
        self.agents[name] = self._closing.enter_context(connecting)

    def _alice_is_asked(self) -> str:
        self.links["alice"] = self._asked("alice")
        self._asked("alice's session")
        return f"{CONSENT_REASON} ({CONSENT_CODE}) with a link"

    def _bob_is_refused(self) -> str:
        before = self.stage.far.ledger()
        browser = self._browsers["bob"]
        page = self._open_signed_in("bob", self._link_of("alice"))
        expect(page.status == 403, repr(page))
        expect(all(hop.url.startswith(self.stage.gateway.url) for hop in browser.history), browser.history)
        after = self.stage.far.ledger()
        expect(after == before, f"the authorization server was asked: {after.counts}")
        self._expect_statuses(alice="not_connected", bob="not_connected")
        return "403, the authorization server was asked nothing, nothing is stored"

    def _alice_consents(self) -> str:
        browser = self._browsers["alice"]
        question = self._open_signed_in("alice", self._link_of("alice"))
        expect(all(scope in question.text for scope in SCOPES), f"the scopes are not on {question!r}")
        browser.press("Connect Demo authorization server")
        expect(browser.page.url.startswith(self.stage.far.issuer), repr(browser.page))
        browser.sign_in("alice", self.stage.far.passwords["alice"])
        done = browser.press("Allow")
        expect(done.url.startswith(f"{self.stage.gateway.url}/oauth/v1/done/"), repr(done))
        expect("As alice" in done.text and all(scope in done.text for scope in SCOPES), done.text)
        self._remember_tokens()
        self._expect_statuses(alice="connected", bob="not_connected")
        return f"connected as alice, granted {' and '.join(SCOPES)}"

    def _alice_is_answered(self) -> str:
        answers = [self.agents[name].call("whoami") for name in ("alice", "alice's session")]
        expect(answers == ["alice", "alice"], answers)
        return "“alice”, on both revisions"

    def _tools_are_listed(self) -> str:
        expected = {"whoami", "echo", "count"}
        deadline = time.monotonic() + TOOLS_SECONDS
        while (kept := self._kept_tools()) != expected and time.monotonic() < deadline:
            time.sleep(0.2)
        expect(kept == expected, f"the gateway kept {sorted(kept)}")
        listed = [set(agent.tools()) for agent in self.agents.values()]
        expect(listed == [expected] * 3, f"tools {listed}")
        return ", ".join(sorted(expected))

    def _bob_is_asked(self) -> str:
        self.links["bob"] = self._asked("bob")
        expect(self.links["bob"] != self._link_of("alice"), "bob got alice's link")
        page = self._browsers["bob"].open(self.links["bob"])
        expect(page.status == 200 and "Connect Demo authorization server" in page.text, repr(page))
        return f"{CONSENT_REASON} ({CONSENT_CODE}) with a link of his own"

    def _token_is_refreshed(self) -> str:
        expires_at = connection(self.stage.gateway, self.stage.people["alice"])["expires_at"]
        left = (datetime.fromisoformat(expires_at) - datetime.now(UTC)).total_seconds()
        self.report.count_down(max(0, left) + 1, "waiting for alice's access token to expire")
        before = self.stage.far.ledger()
        expect(before.live_tokens["alice"].access == 0, f"alice's tokens: {before.live_tokens['alice']}")
        answers = self.agents["alice"].call_at_once("whoami", AT_ONCE)
        expect(answers == ["alice"] * AT_ONCE, answers)
        after = self.stage.far.ledger()
        self._remember_tokens()
        refreshes = after.token_requests("refresh_token") - before.token_requests("refresh_token")
        refused = after.token_requests("refresh_token", "refused")
        expect((refreshes, refused) == (1, 0), f"{refreshes} refreshes, {refused} refused")
        expect(after.live_tokens["alice"] == LiveTokens(access=1, refresh=1), after.live_tokens["alice"])
        return "all answer “alice”, after one refresh"

    def _alice_disconnects(self) -> str:
        before = self.stage.far.ledger()
        browser = self._browsers["alice"]
        browser.open(f"{self.stage.gateway.url}/connections/")
        browser.click("Disconnect Demo authorization server")
        page = browser.press("Disconnect Demo authorization server")
        after = self.stage.far.ledger()
        expect(after.live_tokens["alice"] == NO_TOKENS, f"alice's tokens: {after.live_tokens['alice']}")
        confirmed = after.revocations() - before.revocations()
        expect(confirmed and not after.revocations("refused"), f"revocations: {after.counts}")
        expect("has confirmed that the access is withdrawn" in page.text, repr(page))
        return f"{confirmed} revocations accepted, no token of hers is left alive"

    def _alice_is_asked_again(self) -> str:
        self._asked("alice")
        self._asked("alice's session")
        self._expect_statuses(alice="not_connected", bob="not_connected")
        return f"{CONSENT_REASON} ({CONSENT_CODE})"

    def _nothing_leaked(self) -> str:
        stage = self.stage
        self._remember_tokens()
        values = {"the client secret": stage.far.client_secret}
        for name, person in stage.people.items():
            values |= {f"{name}'s API token": person.token, f"{name}'s password": person.password}
        values |= {f"{name}'s password there": password for name, password in stage.far.passwords.items()}
        files = [stage.gateway.log, *(path for path in stage.gateway.data_dir.rglob("*") if path.is_file())]
        expect(self.digests, "the authorization server has issued no token")
        found = leaks(files, values, self.digests)
        expect(not found, ", ".join(found))
        return f"{len(values)} values and {len(self.digests)} tokens looked for in {len(files)} files"

    def _asked(self, agent: str) -> str:
        """Call whoami, expect to be asked to connect, and return the link."""
        error = self._agent(agent).refusal("whoami")
        if error is None:
            raise DidNotHold(f"{agent}'s call was answered")
        data = error.data if isinstance(error.data, dict) else {}
        expect((error.code, data.get("reason")) == (CONSENT_CODE, CONSENT_REASON), f"{error.code} {data.get('reason')}")
        link = str(data.get("authorize_url"))
        expect(link.startswith(f"{self.stage.gateway.url}/oauth/v1/authorize?"), f"the link {link.partition('?')[0]}")
        expect(link in error.message, "the link is not in the message")
        return link

    def _agent(self, name: str) -> Agent:
        if name not in self.agents:
            raise DidNotHold(f"the agent {name} never connected")
        return self.agents[name]

    def _link_of(self, name: str) -> str:
        if name not in self.links:
            raise DidNotHold(f"there was no link for {name}")
        return self.links[name]

    def _open_signed_in(self, name: str, url: str) -> Page:
        browser = self._browsers[name]
        browser.open(url)
        expect(browser.asks_to_sign_in(), f"not asked to sign in on {browser.page!r}")
        return browser.sign_in(name, self.stage.people[name].password)

    def _expect_statuses(self, **expected: str) -> None:
        people = self.stage.people
        seen = {name: connection(self.stage.gateway, people[name])["status"] for name in expected}
        expect(seen == expected, f"connections: {seen}")

    def _kept_tools(self) -> set[str]:
        answer = api(self.stage.gateway, self.stage.people["alice"], "GET", "mcp-servers/demo/tools/")
        return {tool["name"] for tool in answer["tools"]}

    def _remember_tokens(self) -> None:
        self.digests |= issued_tokens(self.stage.authserver_database)
