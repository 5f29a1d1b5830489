"""What the floors below must know of servers: who uses a secret, who needs a provider and with which scopes."""

from collections.abc import Iterable

from changes import counter
from mcpservers.models import MCPServer, MCPServerGroupObjectPermission, MCPServerUserObjectPermission
from vault import registry
from vault.registry import Use


def register() -> None:
    """Hook the servers into the floors below."""
    counter.announce_rows_of(MCPServer, MCPServerUserObjectPermission, MCPServerGroupObjectPermission)
    registry.register_users_of_secrets(users_of_secret)


def users_of_secret(secret_name: str) -> Iterable[Use]:
    """Return the servers whose static key is this secret."""
    names = MCPServer.objects.filter(auth__key_ref=secret_name).values_list("name", flat=True)
    return [Use("mcp-server", name) for name in names]
