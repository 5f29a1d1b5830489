"""One whole flow with every credential known, then a search for each of them everywhere it must not be.

A real gateway, logging at DEBUG; a real authorization server, whose back channel passes a proxy that keeps the values.
"""

import base64
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from aigateway.demo.browser import Browser
from aigateway.demo.farside import FarSide, start_far_side
from aigateway.demo.processes import ProcessTree, free_port
from tests.aigateway import gateways
from tests.clients.test_admin_site import every_address
from tests.fakes.recording_proxy import RecordingProxy, recording_proxy

PASSWORD = "correct horse battery staple"
REFRESHED_SECONDS = 20
PLACES = ("the log", "HTTP answers", "admin pages", "the database while connected", "the data folder", "dumpdata")
PLACES += ("task arguments", "metrics")


@dataclass
class Flow:
    """What was found where, and what may be in none of these places."""

    found: dict[str, str] = field(default_factory=dict, repr=False)
    canaries: dict[str, list[str]] = field(default_factory=dict, repr=False)


class Witness(Browser):
    """A browser that keeps everything the gateway said, but for the address at the provider that it was sent to."""

    def __init__(self, gateway: str, issuer: str) -> None:
        super().__init__()
        self.gateway, self.issuer = gateway, issuer
        self.heard: list[str] = []

    def _send(self, method: str, url: str, values: Any) -> requests.Response:
        response = super()._send(method, url, values)
        if url.startswith(self.gateway):
            headers = [f"{name}: {value}" for name, value in response.headers.items() if self.issuer not in value]
            self.heard += [*headers, response.text]
        return response


@dataclass
class Walk:
    """The gateway under test and whoever talks to it."""

    url: str
    token: str = field(repr=False)
    browser: Witness
    proxy: RecordingProxy
    far: FarSide

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Make an API request; its answer is evidence."""
        with requests.Session() as http:
            http.trust_env = False
            headers = {"Authorization": f"Bearer {self.token}"}
            answer = http.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60)
        self.browser.heard += [str(answer.headers), answer.text]
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    def register(self) -> None:
        """Make secret, provider and server, and change each once."""
        secret = {"name": "CANARY_SECRET", "value": self.far.client_secret}
        endpoints = {name: f"{self.proxy.base}/{name.split('_')[0]}" for name in ("token_endpoint",)}
        endpoints["revocation_endpoint"] = f"{self.proxy.base}/revoke"
        provider = {**self.far.provider_fields(), **endpoints, "name": "demo", "client_secret_ref": "CANARY_SECRET"}
        auth = {"mode": "user_oauth", "provider_name": "demo", "required_scopes": ["mcp:tools"]}
        self.api("POST", "/api/v1/secrets/", secret)
        self.api("POST", "/api/v1/oauth-providers/", provider)
        self.api(
            "POST", "/api/v1/mcp-servers/", {"name": "demo", "kind": "remote", "url": self.far.mcp_url, "auth": auth}
        )
        self.api("PATCH", "/api/v1/secrets/CANARY_SECRET/", {"value": self.far.client_secret, "description": "x"})

    def call(self) -> Any:
        """Call the tool that says who calls."""
        return self.api("POST", "/api/v1/mcp-servers/demo/tools/whoami/call/", {})

    def consent(self) -> None:
        """Follow the link of a refused call to the end."""
        self.browser.open(self.call()["error"]["data"]["authorize_url"])
        self.browser.press("Connect")
        if self.browser.asks_to_sign_in():
            self.browser.sign_in("alice", self.far.passwords["alice"])
        self.browser.press("Allow")

    def replay(self) -> None:
        """Come back with an answer that was used, and with a code that nobody issued."""
        used = next(hop.url for hop in self.browser.history if "/oauth/v1/callback/" in hop.url)
        assert self.browser.open(used).status == 400

    def wait_for_refresh(self) -> None:
        """Wait until a token was renewed."""
        deadline = time.monotonic() + REFRESHED_SECONDS
        while "refresh_token" not in self.proxy.values("grant_type"):
            assert time.monotonic() < deadline, "nothing was refreshed"
            time.sleep(0.2)
            self.call()

    def sent(self, name: str) -> list[str]:
        """Return every value of a parameter in the addresses that the browser went to."""
        queries = [parse_qs(urlsplit(hop.url).query) for hop in self.browser.history]
        return [value for query in queries for value in query.get(name, [])]


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    folder, port = tmp_path_factory.mktemp("canaries"), free_port()
    url, keys = f"http://127.0.0.1:{port}", {name: secrets.token_urlsafe(32) for name in gateways.KEYS}
    redirect_uri = f"{url}/oauth/v1/callback/demo"
    with ProcessTree(folder / "logs", say=lambda line: None) as tree:
        far = start_far_side(tree, folder / "farside", redirect_uris=[redirect_uri], access_token_seconds=3)
        with recording_proxy(far.issuer) as proxy:
            env = gateways.environment(
                folder / "data",
                **keys,
                DJANGO_SETTINGS_MODULE="tests.canary_settings",
                DJANGO_SUPERUSER_PASSWORD=PASSWORD,
                CANARY_TASKS=str(folder / "tasks"),
                AIGW_LOG_LEVEL="DEBUG",
                AIGW_BASE_URL=url,
                AIGW_OUTBOUND_ALLOW=",".join(urlsplit(each).netloc for each in (far.issuer, far.mcp_url, proxy.base)),
                AIGW_OUTBOUND_CA_BUNDLE=str(far.ca_bundle),
                VAULT_SCAN_INTERVAL_SECONDS="1",
            )
            with gateways.serving(folder / "log", "--port", str(port), env=env) as gateway:
                gateway.url()
                yield _walked(folder, env, url, proxy, far, keys)


def _walked(
    folder: Path, env: dict[str, str], url: str, proxy: RecordingProxy, far: FarSide, keys: dict[str, str]
) -> Flow:
    flow = Flow()
    gateways.manage("createsuperuser", "--noinput", "--username", "admin", "--email", "a@example.com", env=env)
    token = gateways.manage("create_token", "admin", env=env).stdout.splitlines()[-1]
    with Witness(url, far.issuer) as browser:
        walk = Walk(url, token, browser, proxy, far)
        walk.register()
        browser.open(f"{url}/connections/")
        browser.sign_in("admin", PASSWORD)
        walk.consent()
        assert walk.call()["result"]["content"][0]["text"] == "alice"
        walk.replay()
        walk.wait_for_refresh()
        flow.found["the database while connected"] = _read(folder / "data")
        flow.found["dumpdata"] = gateways.manage("dumpdata", env=env).stdout
        flow.found["admin pages"] = _pages(walk, [f"{url}{address}" for address in every_address()])
        walk.api("DELETE", "/api/v1/connections/demo/")
        _spoil(walk)
        flow.found["metrics"] = _pages(walk, [f"{url}/metrics"])
        flow.found["HTTP answers"] = "\n".join(browser.heard)
    flow.found["the data folder"] = _read(folder / "data")
    flow.found["the log"] = (folder / "log").read_text(errors="replace")
    flow.found["task arguments"] = (folder / "tasks").read_text()
    flow.canaries = {
        "access token": [*proxy.values("access_token"), *proxy.values("token"), "canary-in-a-body"],
        "refresh token": proxy.values("refresh_token"),
        "client secret": [far.client_secret],
        "code": [*proxy.values("code"), *walk.sent("code")],
        "code verifier": proxy.values("code_verifier"),
        "state": walk.sent("state"),
        "API token": [token],
        "encryption key": [keys["FERNET_KEYS"]],
        "signing key": [keys["SECRET_KEY"]],
        "password": [PASSWORD, far.passwords["alice"]],
    }
    return flow


def _spoil(walk: Walk) -> None:
    """Consent once more, with a token endpoint that answers in a way that no gateway understands."""
    walk.proxy.instead += [(200, b'{"access_token": ["canary-in-a-body"], "note": "canary-in-a-body"}')]
    walk.consent()
    assert "answered in a way that this gateway does not understand" in walk.browser.page.text, repr(walk.browser.page)


def _pages(walk: Walk, addresses: list[str]) -> str:
    before = len(walk.browser.heard)
    for address in addresses:
        walk.browser.open(address)
    return "\n".join(walk.browser.heard[before:])


def _read(folder: Path) -> str:
    return "\n".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


def _spellings(value: str) -> set[str]:
    """Return a credential as it is, as it stands in a query, and as HTTP Basic carries it."""
    return {value, quote(value, safe=""), base64.b64encode(value.encode()).decode().rstrip("=")}


@pytest.mark.threat("H01", "H02", "H03", "C01")
@pytest.mark.parametrize("place", PLACES)
def test_no_credential_is_readable_in(flow: Flow, place: str) -> None:
    text = flow.found[place]
    assert len(text) > 50, "nothing was looked at"
    leaked = [
        name
        for name, values in flow.canaries.items()
        if any(spelling in text for value in values for spelling in _spellings(value))
    ]
    assert leaked == [], f"in {place}"


@pytest.mark.threat("H01")
def test_every_canary_flew(flow: Flow) -> None:
    missing = [name for name, values in flow.canaries.items() if not values or not all(map(len, values))]
    assert missing == []
    assert len(set(flow.canaries["refresh token"])) > 1
    assert len(set(flow.canaries["state"])) > 1


def test_what_was_searched_holds_what_it_should(flow: Flow) -> None:
    assert re.search(r'"level": "debug"', flow.found["the log"])
    assert '"logger": "mcpservers.calls"' in flow.found["the log"]
    assert "tools/call" in flow.found["the data folder"]
    assert "oauth.consent.started" in flow.found["the data folder"]
    assert "CANARY_SECRET" in flow.found["admin pages"]
    assert "connections.tasks" in flow.found["task arguments"]
    assert "vault.vaultentry" in flow.found["dumpdata"]
