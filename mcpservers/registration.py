"""What the floors below must know of servers: who uses a secret, who needs a provider and with which scopes."""

import logging
from collections.abc import Collection, Iterable
from uuid import UUID

from django.contrib.auth.models import User
from kombu.exceptions import OperationalError

from changes import counter
from clients import rights
from connections import registry as connections_registry
from connections.registry import ServerNeed
from connections.service_accounts import ServiceAccount
from mcpservers import service_account
from mcpservers.models import (
    GroupToolPolicy,
    MCPServer,
    MCPServerGroupObjectPermission,
    MCPServerUserObjectPermission,
    ToolPolicy,
)
from providers import registry as providers_registry
from providers.registry import ServerUse
from vault import registry as vault_registry
from vault.registry import Use

logger = logging.getLogger(__name__)


def register() -> None:
    """Hook the servers into the floors below."""
    counter.announce_rows_of(MCPServer, MCPServerUserObjectPermission, MCPServerGroupObjectPermission)
    counter.announce_rows_of(ToolPolicy, GroupToolPolicy)
    vault_registry.register_users_of_secrets(users_of_secrets)
    providers_registry.register_servers(servers_of_providers)
    connections_registry.register_server_needs(server_needs)
    connections_registry.register_service_accounts(service_accounts)
    connections_registry.register_on_connected(discover_with_new_connection)
    connections_registry.register_on_offboarded("mcp_sessions", end_sessions)


def users_of_secrets(refs: Collection[str]) -> Iterable[tuple[str, Use]]:
    """Return the servers whose static key or client secret is one of these."""
    found: list[tuple[str, Use]] = []
    for member in ("auth__key_ref", "auth__client_secret_ref"):
        rows = MCPServer.objects.filter(**{f"{member}__in": list(refs)}).values_list(member, "name")
        found += [(ref, Use("mcp-server", name)) for ref, name in rows]
    return found


def service_accounts(server_uids: Collection[UUID]) -> Iterable[ServiceAccount]:
    """Return what these servers authenticate as, of those that have a service account."""
    rows = MCPServer.objects.filter(uid__in=server_uids, auth__mode=service_account.MODE)
    return [account for server in rows if (account := service_account.account_of(server))]


def servers_of_providers(uids: Collection[UUID], viewer: User | None) -> Iterable[tuple[UUID, ServerUse]]:
    """Return the servers bound to these providers, disabled ones included, of those that `viewer` may view."""
    rows = MCPServer.objects.filter(provider_uid__in=uids)
    if viewer is not None:
        rows = rights.allowed(viewer, "view", rows)
    return [
        (server.provider_uid, ServerUse(server.pk, server.name, tuple(server.required_scopes), server.enabled))
        for server in rows
        if server.provider_uid is not None
    ]


def server_needs(user: User | None) -> Iterable[ServerNeed]:
    """Return the servers that need a user's connection and that `user` may use; all of them for None."""
    rows = MCPServer.objects.filter(provider_uid__isnull=False, enabled=True, auth__mode="user_oauth")
    if user is not None:
        rows = rights.allowed(user, "use", rows)
    # A server's row also holds the schemas of all its tools, which nobody asks for here.
    found = rows.values_list("name", "provider_uid", "auth")
    return [
        ServerNeed(name, provider_uid, tuple(auth.get("required_scopes", [])))
        for name, provider_uid, auth in found
        if provider_uid is not None
    ]


def discover_with_new_connection(user_id: int, provider_uid: UUID) -> None:
    """Ask for what the provider's servers offer, in the background; a broker that is down harms no consent."""
    from mcpservers.tasks import discover_for_connection

    try:
        discover_for_connection.delay(user_id, str(provider_uid))
    except OperationalError:
        logger.warning("discovery was not queued: the broker does not answer")


def end_sessions(user_id: int) -> int:
    """Forget the user's MCP sessions."""
    from mcpservers.dataplane import kept_sessions

    return kept_sessions.end_all(user_id)
