"""Decide whether an MCP server may be saved as it is, and save it: the one way for API, admin and command line.

`attach` on a provider is asked for as contract §5 says; the server then records the provider's `uid`, and
only another attach changes it: a provider made again under the same name is not the one that was attached.
"""

from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import trail
from clients import rights
from connections import service_tokens
from mcpservers import service_account
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from vault import names, secrets

FIELDS = (
    "name",
    "description",
    "enabled",
    "kind",
    "managed_type",
    "config",
    "url",
    "transport",
    "auth",
    "consent_delivery",
)
# Where a credential goes, and which: what attach and `use` of a secret protect.
DESTINATION = ("url", "transport", "config", "auth")
TARGET = "mcp_server"


def save(actor: User, server: MCPServer, *, attach_again: bool = False) -> MCPServer:
    """Save a new or changed server; the creator of a new one gets rights on it.

    `attach_again` says that the caller names the provider anew though the name is the same: a binding to a
    provider that was replaced moves to its successor. Raises ValidationError with the contract's codes by
    field, and PermissionRefused; nothing is saved then.
    """
    try:
        names.refuse_changes(MCPServer.objects, server, "name", "kind", "managed_type")
        # Looks up host names, so it stays outside the transaction.
        server.full_clean()
        with names.one_per_name("MCP server"), transaction.atomic():
            _save(actor, server, attach_again)
    except (ValidationError, rights.PermissionRefused) as refused:
        trail.record_refusal(f"{TARGET}.refused", refused, actor=actor, target_type=TARGET, target=server.name)
        raise
    return server


def delete(actor: User, server: MCPServer) -> None:
    """Delete a server; nobody's connection changes. Raises PermissionRefused."""
    rights.require(actor, "delete", server)
    with transaction.atomic():
        trail.record(f"{TARGET}.deleted", actor=actor, target_type=TARGET, target=server.name, uid=str(server.uid))
        service_tokens.drop(server.uid, reason="server_deleted")
        server.delete()


def _save(actor: User, server: MCPServer, attach_again: bool) -> None:
    before = MCPServer.objects.select_for_update().get(pk=server.pk) if server.pk else None
    rights.require(actor, "change" if before else "add", before or MCPServer)
    changed = [field for field in FIELDS if before is None or _value(before, field) != _value(server, field)]
    moved = [field for field in DESTINATION if field in changed]
    _bind(actor, before, server, moved, attach_again)
    ref = server.auth.get("key_ref") or server.auth.get("client_secret_ref")
    if ref and moved:
        secrets.require_use(actor, ref, attr="auth")
    _write(actor, before, server, changed)


def _value(server: MCPServer, field: str) -> Any:
    """Return a field with what `auth` leaves out filled in: writing a default out is no change."""
    if field != "auth":
        return getattr(server, field)
    header = {"header_name": "Authorization", "header_prefix": "Bearer"}
    if server.mode == "static_key":
        return header | server.auth
    if server.mode == service_account.MODE:
        left_out = {"scopes": []} if "provider_name" in server.auth else service_account.DEFAULTS
        return left_out | server.auth
    if server.mode == "user_oauth":
        injection = header | server.auth.get("token_injection", {})
        return {"required_scopes": []} | server.auth | {"token_injection": injection}
    return server.auth


def _bind(actor: User, before: MCPServer | None, server: MCPServer, moved: list[str], attach_again: bool) -> None:
    """Ask for attach on the provider that is named and on the one that is left, and record which was attached."""
    bound_to = before.provider_uid if before else None
    named = server.auth.get("provider_name")
    server.provider_uid = bound_to if named else None
    if named and (moved or attach_again):
        provider = OAuthProvider.objects.filter(name=named).first()
        if provider is None:
            raise _not_found(named)
        if moved or provider.uid != bound_to:
            require_attach(actor, provider)
        if "auth" in moved or attach_again:
            server.provider_uid = provider.uid
    if moved and bound_to and server.provider_uid != bound_to:
        left = OAuthProvider.objects.filter(uid=bound_to).first()
        if left:
            require_attach(actor, left)


def require_attach_of(actor: User, auth: dict[str, Any]) -> None:
    """Ask for attach on the provider that `auth` names, if it names one; raise as `save` would."""
    if named := auth.get("provider_name"):
        provider = OAuthProvider.objects.filter(name=named).first()
        if provider is None:
            raise _not_found(named)
        require_attach(actor, provider)


def _not_found(name: str) -> ValidationError:
    text = f"OAuth provider not found: there is none called {name}. Create it first, or name another."
    return ValidationError({"auth": ValidationError(text, code="oauth_provider_not_found")})


def require_attach(actor: User, provider: OAuthProvider) -> None:
    """Raise PermissionRefused `attach_permission_denied` unless `actor` may attach the provider."""
    if not rights.may(actor, "attach", provider):
        text = (
            f"You need the permission {rights.label('attach', provider)} on OAuth provider {provider.name} to "
            "bind a server to it, or to change where a bound server sends its users' tokens. Ask an admin."
        )
        raise rights.PermissionRefused("attach_permission_denied", text, "auth")


def _write(actor: User, before: MCPServer | None, server: MCPServer, changed: list[str]) -> None:
    about: dict[str, Any] = {"actor": actor, "target_type": TARGET, "target": server.name}
    if before is None:
        server.save()
        trail.record(f"{TARGET}.created", **about, uid=str(server.uid), **_binding(server))
        rights.give_to_creator(actor, server)
    elif changed or before.provider_uid != server.provider_uid:
        server.save(update_fields=[*changed, "provider_uid", "updated_at"])
        if "auth" in changed or before.provider_uid != server.provider_uid:
            service_tokens.drop(server.uid, reason="service_account_changed")
        trail.record(
            f"{TARGET}.changed",
            **about,
            fields=changed,
            hosts=[urlsplit(each.url).netloc for each in (before, server)] if "url" in changed else [],
            **_binding(server),
        )


def _binding(server: MCPServer) -> dict[str, Any]:
    """Return which provider the server is attached to, for the trail."""
    if not server.provider_uid:
        return {}
    return {"provider": server.auth["provider_name"], "provider_uid": str(server.provider_uid)}
