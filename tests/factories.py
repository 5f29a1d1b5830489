"""Rows that are valid by default; keywords override."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model
from django.utils import timezone
from guardian.shortcuts import assign_perm

from clients import tokens as api_tokens
from mcpservers.activity.models import ServerCall
from mcpservers.models import MCPServer, OnChange, ToolPolicy
from mcpservers.tool_policy import definitions
from providers.models import OAuthProvider
from vault import sealing
from vault.models import Secret, VaultEntry

PASSWORD = "correct horse battery staple"


def make_user(username: str, **fields: Any) -> User:
    """Make an active user whose password is PASSWORD."""
    return User.objects.create_user(username, f"{username}@example.com", PASSWORD, **fields)


def make_api_token(user: User, name: str = "tests") -> str:
    """Make an API token and return it."""
    return api_tokens.create(user, name=name)[1]


def make_secret(name: str = "GITHUB_CLIENT_SECRET", value: str = "s3cret-value") -> Secret:
    """Make a secret without asking anyone's rights."""
    secret = Secret(name=name)
    secret.value = sealing.seal(secret, "value", value)
    secret.save()
    return secret


def make_provider(name: str = "github", **fields: Any) -> OAuthProvider:
    """Make a provider with its secret."""
    base = fields.pop("base", "https://auth.example.com")
    defaults: dict[str, Any] = {
        "name": name,
        "display_name": name.capitalize(),
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": f"{base}/token",
        "revocation_endpoint": f"{base}/revoke",
        "client_id": "gateway-client",
        "client_secret_ref": f"{name.upper().replace('-', '_')}_CLIENT_SECRET",
        "scopes": ["read"],
    }
    defaults.update(fields)
    ref = defaults["client_secret_ref"]
    if ref and not Secret.objects.filter(name=ref).exists():
        make_secret(ref)
    return OAuthProvider.objects.create(**defaults)


def bury(provider: OAuthProvider) -> None:
    """Delete a provider, an hour ago: nothing that it was asked is under way any more."""
    provider.delete()
    OAuthProvider.everything.filter(pk=provider.pk).update(deleted_at=timezone.now() - timedelta(hours=1))


def make_server(name: str = "tools", **fields: Any) -> MCPServer:
    """Make a remote server; `provider=` binds it in `user_oauth` mode with `required_scopes=`."""
    provider, scopes = fields.pop("provider", None), fields.pop("required_scopes", ["read"])
    defaults: dict[str, Any] = {"name": name, "url": "https://mcp.example.com/mcp"}
    if provider is not None:
        defaults["auth"] = {"mode": "user_oauth", "provider_name": provider.name, "required_scopes": scopes}
        defaults["provider_uid"] = provider.uid
    defaults.update(fields)
    return MCPServer.objects.create(**defaults)


def make_call(server: MCPServer, user: User, **fields: Any) -> ServerCall:
    """Make the row of an answered tools/call, now."""
    defaults: dict[str, Any] = {
        "at": timezone.now(),
        "method": "tools/call",
        "tool": "echo",
        "outcome": "answered",
        "status": 200,
        "milliseconds": 12.0,
        "upstream_milliseconds": 11.0,
        "bytes_in": 100,
        "bytes_out": 2000,
    }
    return ServerCall.objects.create(
        server_uid=server.uid, user_id=user.pk, request_id="r" * 32, **{**defaults, **fields}
    )


def make_vault_entry(user: User, provider: OAuthProvider, **fields: Any) -> VaultEntry:
    """Make a connection with tokens that are good for an hour."""
    access, refresh = fields.pop("access_token", "upstream-access"), fields.pop("refresh_token", "upstream-refresh")
    now = timezone.now()
    entry = VaultEntry(
        user_id=user.pk,
        provider_uid=provider.uid,
        provider_fingerprint=provider.fingerprint(),
        scopes_requested=["read"],
        scopes_granted=["read"],
        connected_at=now,
        expires_at=now + timedelta(hours=1),
    )
    for name, value in fields.items():
        setattr(entry, name, value)
    entry.access_token = access and sealing.seal(entry, "access_token", access)
    entry.refresh_token = refresh and sealing.seal(entry, "refresh_token", refresh)
    entry.save()
    return entry


def allow(user: User, target: Model, *actions: str) -> None:
    """Give `user` object permissions."""
    for action in actions:
        assign_perm(f"{action}_{target._meta.model_name}", user, target)


def allow_everywhere(user: User, model: type[Model], *actions: str) -> None:
    """Give `user` permissions on every object of a class."""
    for action in actions:
        assign_perm(f"{model._meta.app_label}.{action}_{model._meta.model_name}", user)


def restrict(server: MCPServer, **lists: list[str]) -> ToolPolicy:
    """Let a server's callers use only the tools that `allow` and `deny` let through."""
    return ToolPolicy.objects.create(server=server, **lists)


def hold_changes(server: MCPServer) -> ToolPolicy:
    """Approve a server's tools as they are, and hold those that change."""
    approved = definitions.by_name(server.tools)
    return ToolPolicy.objects.create(server=server, on_change=OnChange.HOLD, approved=approved)
