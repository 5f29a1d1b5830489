"""Every route of the API, as found in the URL table, tried by who must not (F05). A new route is covered by itself."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from mcpservers.models import GroupToolPolicy, MCPServer, ToolPolicy
from providers.models import OAuthProvider
from tests import factories
from tests.api import client_of, send
from vault.models import Secret, VaultEntry

# The same for everyone, by intent.
PUBLIC = {"api-schema", "api-docs", "api-nothing"}
# The catalog is the same for every caller.
CATALOG = "api-oauth-provider-preset-list"
# These name a provider, and what they show and do is the caller's own, whoever owns the provider.
OWN = {"api-connection-detail", "api-connection-authorize", "api-connection-device"}
EXAMPLES = {
    "name": {"secrets": "ALICE_KEY", "": "alices"},
    "provider": {"": "alices"},
    "tool": {"": "echo"},
    "username": {"": "alice"},
}


def routes() -> Iterator[tuple[str, str, str]]:
    """Yield `(method, path, URL name)` for whatever is below `/api/v1/`."""
    for prefix, pattern in _patterns(get_resolver().url_patterns, ""):
        if prefix.startswith("api/v1/") and pattern.name not in PUBLIC:
            actions = getattr(pattern.callback, "actions", None)
            assert actions, f"{prefix} is no viewset: say in this test how it is protected"
            for method in actions:
                yield method, prefix, str(pattern.name)


def _patterns(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, path)
        else:
            yield path, pattern


def address(route: str) -> str:
    """Fill alice's names into a route."""
    names = {group: chosen.get(route.split("/")[2].lstrip("^"), chosen[""]) for group, chosen in EXAMPLES.items()}
    path = route.replace("^", "").replace("$", "").replace(r"\Z", "")
    while "(?P<" in path:
        start = path.index("(?P<")
        group, depth, end = path[start + 4 :].partition(">")[0], 0, start
        for end in range(start, len(path)):
            depth += {"(": 1, ")": -1}.get(path[end], 0)
            if depth == 0:
                break
        path = path[:start] + names[group] + path[end + 1 :]
    return "/" + path


ROUTES = sorted(set(routes()))


@pytest.fixture
def alices(alice: User) -> None:
    """Give alice one of everything."""
    provider = factories.make_provider("alices")
    factories.make_server("alices", provider=provider)
    factories.make_secret("ALICE_KEY")
    factories.make_vault_entry(alice, provider, account="alice@upstream")


def stored() -> list[object]:
    models = (OAuthProvider, MCPServer, ToolPolicy, GroupToolPolicy, Secret, VaultEntry, User)
    return [list(model._default_manager.order_by("pk").values()) for model in models]


def test_the_table_holds_every_resource() -> None:
    resources = {route.split("/")[2].lstrip("^") for _, route, _ in ROUTES}
    assert {"oauth-providers", "mcp-servers", "secrets", "connections"} <= resources


@pytest.mark.parametrize(("method", "route", "name"), ROUTES)
def test_the_addresses_tried_below_lead_to_their_routes(method: str, route: str, name: str) -> None:
    assert resolve(address(route)).url_name == name


@pytest.mark.threat("F05")
@pytest.mark.parametrize(("method", "route", "name"), ROUTES)
def test_an_anonymous_caller_gets_nothing(alices: None, method: str, route: str, name: str) -> None:
    before = stored()
    answer = send(None, method, address(route), {} if method in ("post", "put", "patch") else None)
    assert answer.status_code == 401
    assert stored() == before


@pytest.mark.threat("F05")
@pytest.mark.parametrize(("method", "route", "name"), ROUTES)
def test_bob_gets_nothing_of_alices(alices: None, bob: User, method: str, route: str, name: str) -> None:
    client = client_of(bob)
    before = stored()
    sent = {"data": {}, "content_type": "application/json"} if method in ("post", "put", "patch") else {}
    answer = getattr(client, method)(address(route), **sent)
    if name.endswith("-list") and method == "get":
        assert answer.status_code == 200
        if name not in {"api-connection-list", CATALOG}:
            assert answer.json()["results"] == []
    elif name not in OWN:
        assert answer.status_code in {403, 404}
    assert "alice@upstream" not in answer.content.decode()
    assert stored() == before
