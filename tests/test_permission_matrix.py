"""Every permission against every door: each API endpoint and admin view of providers, servers and secrets.

A row of the matrix is what someone holds (nothing, one permission, one beside `view`, all of them, or `admins`) and
through what (granted to the user or to a group, on every object or on this one). Each row is tried at each door, and
the table of doors below says what must come of it. A door that is not in the table fails the test that counts them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from guardian.shortcuts import assign_perm

from mcpservers.dataplane import local_call
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import filled, signed_in
from tests.api import client_of, provider_body, server_body
from tests.clients.test_every_route import ROUTES
from vault.models import Secret

HERE = "http://127.0.0.1:9"
Held = frozenset[str]
Rule = Callable[[Held], int]
ADMIN = "admin"


def needs(action: str, done: int = 200) -> Rule:
    """What may not be viewed is 404, what may be viewed but not done 403 (contract §5)."""
    return lambda held: 404 if "view" not in held else done if action in held else 403


def always(status: int) -> Rule:
    return lambda _: status


def if_held(action: str, status: int) -> Rule:
    return lambda held: status if action in held else 403


@dataclass(frozen=True)
class Door:
    """A request, and what must come of it for whoever holds what. `path` is relative to the resource or object."""

    route: str
    method: str
    path: str
    body: dict[str, Any] | None
    rule: Rule


@dataclass(frozen=True)
class Resource:
    """One of the three kinds of object that have rights of their own."""

    name: str
    model: type[Model]
    key: str
    special: str
    make: Callable[[], Model]
    new: dict[str, Any]
    whole: dict[str, Any]
    part: dict[str, Any]
    api: tuple[Door, ...] = ()
    admin: tuple[Door, ...] = ()

    @property
    def actions(self) -> tuple[str, ...]:
        return ("view", "change", "delete", self.special)

    def doors(self) -> Iterator[Door]:
        """Yield the doors of the API, those that all three have first."""
        yield Door("list", "get", "", None, always(200))
        yield Door("list", "post", "", self.new, if_held("add", 201))
        detail = f"{self.key}/"
        yield Door("detail", "get", detail, None, needs("view"))
        yield Door("detail", "put", detail, self.whole, needs("change"))
        yield Door("detail", "patch", detail, self.part, needs("change"))
        yield Door("detail", "delete", detail, None, needs("delete", 204))
        grant = {"user": "someone", "permissions": ["view"]}
        yield Door("permissions", "get", f"{detail}permissions/", None, needs(ADMIN))
        yield Door("permissions", "post", f"{detail}permissions/", grant, needs(ADMIN))
        yield Door("permissions", "delete", f"{detail}permissions/", grant, needs(ADMIN, 204))
        for door in self.api:
            yield Door(door.route, door.method, f"{detail}{door.path}", door.body, door.rule)

    def admin_doors(self) -> Iterator[Door]:
        """Yield the doors of the admin; a body of `form` is the page's own form, as it would be sent back."""
        sent = {"post": "yes"}
        yield Door("changelist", "get", "", None, if_held("view", 200))
        yield Door("add", "get", "", None, if_held("add", 200))
        yield Door("change", "get", "", None, needs("view"))
        yield Door("change", "post", "", {"form": "change"}, needs("change", 302))
        yield Door("delete", "get", "", None, needs("delete"))
        yield Door("delete", "post", "", sent, needs("delete", 302))
        yield Door("history", "get", "", None, needs("view"))
        # Asked before the object is looked for: whoever is no admin learns nothing of it.
        sent_grant = {"kind": "user", "name": "someone", "actions": "view"}
        yield Door("rights_page", "get", "", None, if_held(ADMIN, 200))
        yield Door("rights_page", "post", "", sent_grant, if_held(ADMIN, 302))
        yield from self.admin


PROVIDER_API = (
    Door("scope-impact", "post", "scope-impact/", {"scopes": []}, needs("change")),
    Door("change-impact", "post", "change-impact/", {"display_name": "New"}, needs("change")),
    Door("used-by", "get", "used-by/", None, needs("view")),
    Door("check", "post", "check/", {}, needs("change")),
)
PROVIDER_ADMIN = (
    Door("detail", "get", "", None, needs("view")),
    Door("disable", "post", "", {}, needs("change", 302)),
    Door("enable", "post", "", {}, needs("change", 302)),
)
SERVER_API = (
    Door("scope-impact", "post", "scope-impact/", {"required_scopes": []}, needs("change")),
    Door("auth-impact", "post", "auth-impact/", {"auth": {"mode": "none"}}, needs("change")),
    Door("tools", "get", "tools/", None, needs("view")),
    # Nobody is behind the address: who may ask learns that the server does not answer.
    Door("refresh-tools", "post", "refresh-tools/", {}, needs("change", 502)),
    Door("call-tool", "post", "tools/echo/call/", {}, needs("use")),
    Door("explain", "get", "explain/", None, needs("view")),
    Door("activity", "get", "activity/", None, needs("view")),
    Door("activity-summary", "get", "activity/summary/", None, needs("view")),
    Door("tool-policy", "get", "tool-policy/", None, needs("change")),
    Door("tool-policy", "put", "tool-policy/", {"deny": ["x"]}, needs("change")),
    Door("approve-tool", "post", "tools/echo/approve/", {}, needs("change")),
    Door("approve-tools", "post", "tools/approve/", {}, needs("change")),
)
SERVER_ADMIN = (
    Door("detail", "get", "", None, needs("view")),
    Door("activity", "get", "", None, needs("view")),
    Door("refresh_tools", "post", "", {}, needs("change", 302)),
    Door("tools", "get", "", None, needs("change")),
    Door("tools", "post", "", {"on_change": "hold"}, needs("change", 302)),
)
HERE_PROVIDER = {
    "authorization_endpoint": f"{HERE}/authorize",
    "token_endpoint": f"{HERE}/token",
}
RESOURCES = {
    resource.name: resource
    for resource in (
        Resource(
            "oauth-providers",
            OAuthProvider,
            "this",
            "attach",
            lambda: factories.make_provider("this", base=HERE, token_endpoint_auth_method="none", client_secret_ref=""),
            provider_body(name="new", **HERE_PROVIDER),
            provider_body(name="this", **HERE_PROVIDER),
            {"display_name": "New"},
            PROVIDER_API,
            PROVIDER_ADMIN,
        ),
        Resource(
            "mcp-servers",
            MCPServer,
            "this",
            "use",
            lambda: factories.make_server("this", url=f"{HERE}/mcp", tools=[{"name": "echo"}]),
            server_body(name="new", url=f"{HERE}/mcp"),
            server_body(name="this", url=f"{HERE}/mcp"),
            {"description": "New"},
            SERVER_API,
            SERVER_ADMIN,
        ),
        Resource(
            "secrets",
            Secret,
            "THIS",
            "use",
            lambda: factories.make_secret("THIS"),
            {"name": "NEW", "value": "x"},
            {"name": "THIS", "value": "x"},
            {"description": "New"},
        ),
    )
}


def holdings(resource: Resource) -> dict[str, Held]:
    """Return what someone may hold, by what to call it."""
    single = {action: frozenset([action]) for action in (*resource.actions, "add")}
    beside_view = {f"view+{action}": frozenset(["view", action]) for action in resource.actions if action != "view"}
    return {"none": frozenset(), **single, **beside_view, "all": frozenset([*resource.actions, "add"])}


# Through a group it is one rule for all rights; the rows that hold several are tried that way too.
IN_GROUPS = {"view+attach", "view+use", "all"}
WAYS = ("user, globally", "user, on the object", "group, globally", "group, on the object")
ROWS = [
    (name, held, way)
    for name, resource in RESOURCES.items()
    for held, actions in holdings(resource).items()
    for way in WAYS
    # There is no object yet that `add` could be granted on, and nothing can be held in one way only.
    if not (way.endswith("object") and "add" in actions and len(actions) == 1)
    if held != "none" or way == WAYS[0]
    if way.startswith("user") or held in IN_GROUPS
] + [(name, ADMIN, WAYS[2]) for name in RESOURCES]


def grant(user: User, target: Model, actions: Held, way: str) -> Held:
    """Give `actions` in this way, and return what is then held: `add` exists globally only."""
    receiver: User | Group = user
    if way.startswith("group"):
        receiver = Group.objects.create(name="team")
        user.groups.add(receiver)
    meta, on_object = target._meta, way.endswith("object")
    held = actions - {"add"} if on_object else actions
    for action in held:
        codename = f"{action}_{meta.model_name}"
        if on_object:
            assign_perm(codename, receiver, target)
        else:
            assign_perm(f"{meta.app_label}.{codename}", receiver)
    return held


def attempt(client: Client, door: Door, path: str, body: Any, *, as_json: bool) -> Any:
    """Go through the door, and undo what came of it."""
    sent: dict[str, Any] = {} if body is None else {"data": body}
    if as_json and body is not None:
        sent["content_type"] = "application/json"
    with transaction.atomic():
        answer = getattr(client, door.method)(path, **sent)
        transaction.set_rollback(True)
    return answer


_forms: dict[str, dict[str, Any]] = {}


def form_of(name: str, superuser: User, path: str) -> dict[str, Any]:
    """Return what the form of such an object would send back unchanged; the same every time."""
    if name not in _forms:
        _forms[name] = filled(signed_in(superuser), path)
    return _forms[name]


def wrong(door: Door, held: Held, answer: Any) -> str:
    expected = door.rule(held)
    if answer.status_code == expected:
        return ""
    return f"{door.method.upper()} {door.route}: {answer.status_code}, not {expected}"


@pytest.fixture(autouse=True)
def a_tool_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the data plane, whose threads see nothing of a test's transaction."""
    monkeypatch.setattr(local_call, "call_tool", lambda *_: {"result": {}})


@pytest.fixture
def caller(db: None) -> User:
    """Someone who may enter the admin, and holds nothing yet."""
    factories.make_user("someone")
    return factories.make_user("caller", is_staff=True)


def standing(caller: User, resource: Resource, held: str, way: str) -> tuple[Model, Held]:
    """Make the object, and give the caller what the row says."""
    target = resource.make()
    if held == ADMIN:
        caller.groups.add(Group.objects.get(name="admins"))
        return target, frozenset([*resource.actions, "add", ADMIN])
    return target, grant(caller, target, holdings(resource)[held], way)


@pytest.mark.threat("F05", "F07")
@pytest.mark.parametrize(("name", "row", "way"), ROWS)
def test_every_endpoint_asks_for_its_permission(caller: User, name: str, row: str, way: str) -> None:
    resource = RESOURCES[name]
    _, held = standing(caller, resource, row, way)
    client = client_of(caller)
    found = []
    for door in resource.doors():
        answer = attempt(client, door, f"/api/v1/{name}/{door.path}", door.body, as_json=True)
        found.append(wrong(door, held, answer))
        if (door.route, door.method) == ("list", "get"):
            listed = [row["name"] for row in answer.json()["results"]]
            found.append("" if listed == ([resource.key] if "view" in held else []) else f"list shows {listed}")
    assert [finding for finding in found if finding] == []


@pytest.mark.threat("F05", "F07")
@pytest.mark.parametrize(("name", "row", "way"), ROWS)
def test_every_admin_view_asks_for_its_permission(caller: User, superuser: User, name: str, row: str, way: str) -> None:
    resource = RESOURCES[name]
    target, held = standing(caller, resource, row, way)
    client = signed_in(caller)
    prefix = f"admin:{target._meta.app_label}_{target._meta.model_name}"
    found = []
    for door in resource.admin_doors():
        args = [] if door.route in ("changelist", "add") else [target.pk]
        path = reverse(f"{prefix}_{door.route}", args=args)
        body = form_of(name, superuser, path) if door.body == {"form": "change"} else door.body
        found.append(wrong(door, held, attempt(client, door, path, body, as_json=False)))
    assert [finding for finding in found if finding] == []


def test_every_route_of_the_api_is_a_door() -> None:
    for name, resource in RESOURCES.items():
        tried = {(door.method, f"-{door.route}") for door in resource.doors()}
        served = {(method, url_name) for method, route, url_name in ROUTES if route.split("/")[2].lstrip("^") == name}
        missing = [each for each in served if not any(each[0] == m and each[1].endswith(r) for m, r in tried)]
        assert missing == []


def test_every_view_of_the_admin_is_a_door() -> None:
    for resource in RESOURCES.values():
        prefix = f"{resource.model._meta.app_label}_{resource.model._meta.model_name}_"
        served = {pattern.name for pattern in django_admin.site._registry[resource.model].get_urls() if pattern.name}
        assert {name.removeprefix(prefix) for name in served} == {door.route for door in resource.admin_doors()}


def test_the_size_of_the_matrix() -> None:
    doors = {name: (len(list(each.doors())), len(list(each.admin_doors()))) for name, each in RESOURCES.items()}
    rows = {name: sum(row[0] == name for row in ROWS) for name in RESOURCES}
    cells = sum(rows[name] * sum(doors[name]) for name in RESOURCES)
    assert rows == dict.fromkeys(RESOURCES, 23)
    assert doors == {"oauth-providers": (13, 12), "mcp-servers": (21, 14), "secrets": (9, 9)}
    assert cells == 23 * (25 + 35 + 18) == 1794
