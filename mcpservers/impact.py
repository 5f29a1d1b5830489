"""Say, before a server's required scopes are changed, how many users will have to reconnect. Changes nothing."""

from collections.abc import Collection

from clients.holders import users_who_may
from connections import census
from mcpservers.models import MCPServer
from providers.impact import Impact
from providers.models import OAuthProvider


def scope_impact(server: MCPServer, required_scopes: Collection[str]) -> Impact:
    """Count who can call the server now and would be answered `scope_upgrade_required` with `required_scopes`.

    Only users who may use the server count, and only working connections: the others have to reconnect anyway.
    """
    provider = OAuthProvider.objects.filter(uid=server.provider_uid).first() if server.provider_uid else None
    if provider is None:
        return Impact(0, "The server uses nobody's connection, so nobody has to reconnect.")
    added = sorted(set(required_scopes) - set(server.required_scopes))
    if not added:
        return Impact(0, "No scope is added, so nobody has to reconnect.")
    count = census.newly_lacking(
        provider, before=server.required_scopes, after=required_scopes, users=users_who_may("use", server)
    )
    if not count:
        return Impact(0, f"Every connection in use here has {', '.join(added)}, so nobody has to reconnect.")
    have = "1 connection has" if count == 1 else f"{count} connections have"
    return Impact(
        count,
        f"{have} to reconnect to be granted {', '.join(added)}; until then their calls of {server.name} are answered "
        "scope_upgrade_required.",
    )
