"""What a user sees of the MCP servers: those they may use, and how each stands for them, in a few queries.

A server is listed for whoever may view and use it. Opening one follows the same rights: what one may not view is not
there, what one may view but not use is refused (contract §5). No token is opened.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from clients import rights
from connections import listing as connections_listing
from connections.listing import Connection
from mcpservers.auth_modes import MODES, Mode
from mcpservers.models import Kind, MCPServer
from mcpservers.tool_policy import reading


class Standing(StrEnum):
    """How a server stands for one user."""

    READY = "ready"
    DISABLED = "disabled"
    NOT_CONNECTED = "not_connected"
    NEEDS_ATTENTION = "needs_attention"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True)
class Offered:
    """A server, how it stands for the user, and the tools that the policy lets them see.

    `connection` is the user's, where the server needs one; `missing` the scopes that it was not granted.
    """

    server: MCPServer
    standing: Standing
    mode: Mode
    tools: list[dict[str, Any]] = field(repr=False)
    connection: Connection | None = None
    missing: tuple[str, ...] = ()

    @property
    def type_words(self) -> str:
        """Return what kind of server it is."""
        if self.server.kind == Kind.MANAGED:
            return f"Managed · {self.server.managed_type}"
        return f"Remote · {self.server.get_transport_display()}"

    @property
    def connect_url(self) -> str:
        """Return the link with which this very server asks for the user's connection."""
        return self.connection.offer_for(self.server.name) if self.connection else ""

    @property
    def refreshed_at(self) -> datetime | None:
        """Return when its tools were last seen."""
        return self.server.tools_refreshed_at


def usable_by(user: User, *, search: str = "") -> QuerySet[MCPServer]:
    """Return the servers that the user may view and use, of those whose name or description holds `search`."""
    rows = rights.allowed(user, "use", rights.allowed(user, "view", MCPServer.objects.all()))
    return rows.filter(Q(name__icontains=search) | Q(description__icontains=search)) if search else rows


def with_tools(user: User, rows: QuerySet[MCPServer]) -> QuerySet[MCPServer]:
    """Fetch with the servers all that `offered` asks of them."""
    return reading.with_policies(rows, user).defer(None)


def offered(user: User, servers: Iterable[MCPServer]) -> list[Offered]:
    """Return how each of these servers stands for the user."""
    found = list(servers)
    connections: dict[UUID | None, Connection] = {}
    if any(server.mode == "user_oauth" for server in found):
        connections = {row.provider_uid: row for row in connections_listing.connections_of(user)}
    return [_offered(user, server, connections.get(server.provider_uid)) for server in found]


def _offered(user: User, server: MCPServer, connection: Connection | None) -> Offered:
    policy = reading.policy_for(user, server)
    needed = connection if server.mode == "user_oauth" else None
    missing = tuple(sorted(set(server.required_scopes) - set(needed.scopes_granted))) if needed else ()
    return Offered(
        server=server,
        standing=_standing(server, needed, missing),
        mode=MODES[server.mode],
        tools=policy.visible(server.tools) if policy else server.tools,
        connection=needed,
        missing=missing if needed and needed.connected_at else (),
    )


def _standing(server: MCPServer, connection: Connection | None, missing: tuple[str, ...]) -> Standing:
    if not server.enabled:
        return Standing.DISABLED
    if server.mode != "user_oauth":
        return Standing.READY
    if connection is None or not connection.is_enabled:
        return Standing.MISCONFIGURED
    if connection.status == connections_listing.Status.NOT_CONNECTED:
        return Standing.NOT_CONNECTED
    is_troubled = connection.status == connections_listing.Status.NEEDS_ATTENTION or missing
    return Standing.NEEDS_ATTENTION if is_troubled else Standing.READY
