"""Tools that are no longer as they were approved: found by discovery, approved by an admin (D18).

The first discovery is the baseline: whoever registered the server has seen it. A tool that is new or described
otherwise afterwards waits for review, which is all that happens under *warn*; under *hold* it is neither listed nor
called meanwhile.
"""

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import transaction

from audit import trail
from clients import rights
from mcpservers.models import MCPServer, ToolPolicy
from mcpservers.tool_policy import definitions
from mcpservers.tool_policy.definitions import Change

TARGET = "mcp_server"
MOST_NAMED = 100


class NoSuchTool(ObjectDoesNotExist):
    """The server lists no tool of this name."""


def pending(server: MCPServer) -> list[Change]:
    """Return the server's tools that wait for review."""
    row = ToolPolicy.objects.filter(server=server).first()
    return definitions.changes(server.tools, row.approved) if row else []


def digest_of(found: list[Change]) -> str:
    """Return what an approval of exactly these changes says back."""
    return definitions.digest_of_all(found)


def seen(server: MCPServer, before: list[dict[str, Any]] | None) -> None:
    """Compare what discovery has just kept with what is approved; `before` is what it kept last, if ever it did.

    Call it in the transaction that keeps the tools, and holds the server's row.
    """
    row, _ = ToolPolicy.objects.get_or_create(server=server)
    if row.approved is None:
        row.approved = definitions.by_name(server.tools if before is None else before)
        row.save(update_fields=["approved"])
    known = {change.digest for change in definitions.changes(before or (), row.approved)}
    found = [change for change in definitions.changes(server.tools, row.approved) if change.digest not in known]
    if found:
        about: dict[str, Any] = {"target_type": TARGET, "target": server.name, "on_change": row.on_change}
        for kind in (definitions.CHANGED, definitions.NEW):
            about[kind] = [_short(change.name) for change in found if change.kind == kind][:MOST_NAMED]
        trail.record("mcp_server.tool_changed", **about)


@transaction.atomic
def approve(actor: User, server: MCPServer, name: str, digest: str | None = None) -> None:
    """Approve one tool as the server lists it now.

    `digest` says which definition was looked at. Raises NoSuchTool, PermissionRefused, and ValidationError
    `tool_changed` when it is another one now.
    """
    row = _locked(actor, server)
    if not any(tool.get("name") == name for tool in server.tools):
        raise NoSuchTool
    found = [change for change in definitions.changes(server.tools, row.approved) if change.name == name]
    _approve(actor, server, row, found, digest)


@transaction.atomic
def approve_all(actor: User, server: MCPServer, digest: str | None = None) -> None:
    """Approve every tool as the server lists it now; raises as `approve` does."""
    row = _locked(actor, server)
    _approve(actor, server, row, definitions.changes(server.tools, row.approved), digest)


def _locked(actor: User, server: MCPServer) -> ToolPolicy:
    """Return the policy, with the server held and read anew until the transaction ends. Raises PermissionRefused."""
    rights.require(actor, "change", server)
    MCPServer.objects.select_for_update().get(pk=server.pk)
    server.refresh_from_db()
    return ToolPolicy.objects.get_or_create(server=server)[0]


def _approve(actor: User, server: MCPServer, row: ToolPolicy, found: list[Change], digest: str | None) -> None:
    if digest is not None and digest != digest_of(found):
        text = "The tools are no longer as you saw them. Look again."
        raise ValidationError({"digest": ValidationError(text, code="tool_changed")})
    if found:
        row.approved = {**(row.approved or {}), **{change.name: change.now for change in found}}
        row.save(update_fields=["approved"])
        names = [_short(change.name) for change in found]
        about: dict[str, Any] = {"actor": actor, "target_type": TARGET, "target": server.name}
        trail.record("mcp_server.tool_approved", **about, tools=names[:MOST_NAMED], count=len(names))


def _short(name: str) -> str:
    return name[:128]
