"""Setting the gateway up through the doors that a real admin uses: commands, admin pages, REST API."""

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from aigateway.demo.browser import Browser, LostError
from aigateway.demo.farside import FarSide
from aigateway.demo.gateway import DemoGateway
from aigateway.demo.mcpserver import REQUIRED_SCOPE

API_TIMEOUT_SECONDS = 30
ADMIN = "admin"
USERNAMES = ("alice", "bob")


class RefusedError(Exception):
    """The gateway's API did not do what an admin asked; the message holds its answer."""


@dataclass(frozen=True)
class Person:
    """Somebody with a sign-in at the gateway and an API token for their agent."""

    name: str
    password: str = field(repr=False)
    token: str = field(repr=False)


def make_people(gateway: DemoGateway) -> dict[str, Person]:
    """Make the superuser by command and the users on the admin's pages, each with an API token."""
    passwords = {name: secrets.token_urlsafe(15) for name in (ADMIN, *USERNAMES)}
    command = ("createsuperuser", "--noinput", "--username", ADMIN, "--email", "admin@example.com")
    gateway.manage(*command, DJANGO_SUPERUSER_PASSWORD=passwords[ADMIN])
    with Browser() as browser:
        browser.open(f"{gateway.url}/admin/")
        browser.sign_in(ADMIN, passwords[ADMIN])
        for name in USERNAMES:
            _make_member(browser, gateway, name, passwords[name])
    with ThreadPoolExecutor() as pool:
        tokens = pool.map(lambda name: gateway.manage("create_token", name, "--name", "demo"), passwords)
        return {name: Person(name, passwords[name], token) for name, token in zip(passwords, tokens, strict=True)}


def _make_member(browser: Browser, gateway: DemoGateway, name: str, password: str) -> None:
    browser.open(f"{gateway.url}/admin/auth/user/add/")
    browser.press("Save", {"username": name, "password1": password, "password2": password})
    browser.press("Save", {"groups": "members"})
    if "was changed successfully" not in browser.page.text:
        raise LostError(f"{name} could not be put into the group members: {browser.page!r}")


def register(gateway: DemoGateway, far: FarSide, admin: Person) -> None:
    """Store the client secret, create the provider, and create the server that needs it, as the README tells.

    Raises RefusedError.
    """
    secret = {"name": "DEMO_CLIENT_SECRET", "value": far.client_secret}
    provider = {**far.provider_fields(), "name": "demo", "client_secret_ref": secret["name"]}
    server = {
        "name": "demo",
        "description": "A server that tells who you are to it",
        "kind": "remote",
        "url": far.mcp_url,
        "auth": {"mode": "user_oauth", "provider_name": "demo", "required_scopes": [REQUIRED_SCOPE]},
    }
    for resource, fields in (("secrets", secret), ("oauth-providers", provider), ("mcp-servers", server)):
        api(gateway, admin, "POST", f"{resource}/", fields)


def api(
    gateway: DemoGateway, caller: Person, method: str, path: str, fields: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make one request to `/api/v1/` and return the JSON of the answer. Raises RefusedError."""
    with requests.Session() as http:
        http.trust_env = False
        response = http.request(
            method,
            f"{gateway.url}/api/v1/{path}",
            json=fields,
            headers={"Authorization": f"Bearer {caller.token}"},
            timeout=API_TIMEOUT_SECONDS,
        )
    if not response.ok:
        raise RefusedError(f"{method} /api/v1/{path}: {response.status_code} {response.text[:500]}")
    answer: dict[str, Any] = response.json()
    return answer


def connection(gateway: DemoGateway, caller: Person) -> dict[str, Any]:
    """Return what the gateway tells a person of their connection to the provider `demo`."""
    rows: list[dict[str, Any]] = api(gateway, caller, "GET", "connections/")["results"]
    return next(row for row in rows if row["provider"] == "demo")
