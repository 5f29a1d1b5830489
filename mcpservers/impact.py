"""Say, before a server's authentication is changed, how many users will have to connect. Changes nothing."""

from collections.abc import Collection
from typing import Any

from clients.holders import users_who_may
from connections import census
from mcpservers.models import MCPServer
from providers.impact import Impact
from providers.models import OAuthProvider

USER_OAUTH = "user_oauth"


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


def auth_impact(server: MCPServer, auth: dict[str, Any]) -> Impact:
    """Count who may use the server and would have to connect first with `auth` in place of what it has.

    No vault entry is deleted by any change of the mode (contract §8).
    """
    before, after = (
        each.get("provider_name", "") if each["mode"] == USER_OAUTH else "" for each in (server.auth, auth)
    )
    if not after:
        kept = f" Connections to {before} stay as they are." if before else ""
        return Impact(0, f"The server will use nobody's connection, so nobody has to connect.{kept}")
    required = auth.get("required_scopes", [])
    if before == after:
        return scope_impact(server, required)
    provider = OAuthProvider.objects.filter(name=after).first()
    if provider is None:
        return Impact(0, f"There is no OAuth provider called {after}.")
    users = users_who_may("use", server)
    count = users.count() - census.sufficient(provider, required, users)
    if not count:
        return Impact(0, f"Everyone who may use {server.name} is connected to {provider.display_name} already.")
    have = "1 user who may use" if count == 1 else f"{count} users who may use"
    has = "has" if count == 1 else "have"
    return Impact(
        count,
        f"{have} {server.name} {has} to connect {provider.display_name} first; until then their calls are answered "
        "with the link to do so. No connection is deleted.",
    )
