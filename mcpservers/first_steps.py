"""What is left to do on a fresh install, for whoever looks: a provider, a server, a connection."""

from dataclasses import dataclass

from django.contrib.auth.models import User

from clients import rights
from connections import listing as connections_listing
from connections.listing import Status
from mcpservers import listing
from mcpservers.models import MCPServer
from providers.models import OAuthProvider


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `is_yours` when this user may take it."""

    key: str
    is_done: bool
    is_yours: bool = True


def of(user: User) -> list[Step]:
    """Return the three steps in their order. A server that needs no provider makes the first needless."""
    has_server = listing.usable_by(user).filter(enabled=True).exists()
    return [
        Step("provider", has_server or OAuthProvider.objects.exists(), rights.may(user, "add", OAuthProvider)),
        Step("server", has_server, rights.may(user, "add", MCPServer)),
        Step("connection", has_server and _is_connected(user)),
    ]


def _is_connected(user: User) -> bool:
    """Tell whether the user has connected something, or no server of theirs asks for it."""
    rows = connections_listing.connections_of(user)
    needed = [row for row in rows if row.servers and row.can_connect]
    return not needed or any(row.status != Status.NOT_CONNECTED for row in rows)
