"""Save the policy on a server's tools: the one way for API and admin. `change` on the server, and no attach."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import trail
from clients import rights
from mcpservers.models import GroupToolPolicy, MCPServer, OnChange, ToolPolicy

MAX_PATTERNS, MAX_LENGTH, MAX_GROUPS = 500, 128, 50
TARGET = "mcp_server"
Lists = tuple[list[str], list[str]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A whole policy, as somebody typed it: nothing of it is believed yet. `groups` are `(group, allow, deny)`."""

    on_change: Any = OnChange.WARN.value
    allow: Any = field(default_factory=list)
    deny: Any = field(default_factory=list)
    groups: Iterable[tuple[Any, Any, Any]] = ()
    discovery_user: Any = None


def save(actor: User, server: MCPServer, wanted: Wanted) -> None:
    """Replace the server's policy. Raises ValidationError by field, and PermissionRefused; nothing is saved then."""
    try:
        rights.require(actor, "change", server)
        groups = _checked(server, wanted)
        with transaction.atomic():
            MCPServer.objects.select_for_update().get(pk=server.pk)
            _save(actor, server, wanted, groups)
    except (ValidationError, rights.PermissionRefused) as refused:
        about: dict[str, Any] = {"actor": actor, "target_type": TARGET, "target": server.name}
        trail.record_refusal("mcp_server.tool_policy_refused", refused, **about)
        raise


def _save(actor: User, server: MCPServer, wanted: Wanted, groups: dict[Group, Lists]) -> None:
    row = ToolPolicy.objects.filter(server=server).first() or ToolPolicy(server=server)
    values = {
        "on_change": wanted.on_change,
        "allow": _unique(wanted.allow),
        "deny": _unique(wanted.deny),
        "discovery_user": _discovery_user(actor, server, row, wanted.discovery_user),
    }
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        row.save(update_fields=changed if row.pk else None)
    changed += ["groups"] if _save_groups(server, groups) else []
    if changed:
        about: dict[str, Any] = {"actor": actor, "target_type": TARGET, "target": server.name}
        named = sorted(group.name for group in groups)
        said = {"on_change": row.on_change, "allow": row.allow, "deny": row.deny, "groups": named}
        trail.record("mcp_server.tool_policy_changed", **about, fields=changed, **said)


def _save_groups(server: MCPServer, groups: dict[Group, Lists]) -> bool:
    rows = {row.group_id: row for row in GroupToolPolicy.objects.filter(server=server)}
    is_changed = False
    for group, (allow, deny) in groups.items():
        row = rows.pop(group.pk, None) or GroupToolPolicy(server=server, group=group)
        if row.pk is None or (row.allow, row.deny) != (allow, deny):
            row.allow, row.deny, is_changed = allow, deny, True
            row.save()
    for left in rows.values():
        left.delete()
    return is_changed or bool(rows)


def _checked(server: MCPServer, wanted: Wanted) -> dict[Group, Lists]:
    """Return the lists of each group. Raises ValidationError."""
    if wanted.on_change not in OnChange.values:
        raise _finding("on_change", "invalid_choice", f"Use one of {', '.join(OnChange.values)}.")
    if wanted.on_change == OnChange.HOLD and server.mode == "token_passthrough":
        text = "The gateway cannot list the tools of a server that takes each caller's own token: nothing could pass."
        raise _finding("on_change", "hold_needs_discovery", text)
    for name in ("allow", "deny"):
        _check_patterns(name, getattr(wanted, name))
    listed = list(wanted.groups)
    if len(listed) > MAX_GROUPS:
        raise _finding("groups", "too_many", f"At most {MAX_GROUPS} groups can have lists of their own.")
    groups: dict[Group, Lists] = {}
    for name, allow, deny in listed:
        group = _group(name)
        if group in groups:
            raise _finding("groups", "duplicate", f"The group {group.name} is named twice.")
        for patterns in (allow, deny):
            _check_patterns("groups", patterns)
        groups[group] = (_unique(allow), _unique(deny))
    return groups


def _check_patterns(attr: str, patterns: Any) -> None:
    if not isinstance(patterns, list) or len(patterns) > MAX_PATTERNS:
        raise _finding(attr, "invalid_patterns", f"Give a list of at most {MAX_PATTERNS} names and patterns.")
    for pattern in patterns:
        if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_LENGTH or not pattern.isprintable():
            text = f"A name or pattern has 1 to {MAX_LENGTH} printable characters; * ? and [abc] match as in a shell."
            raise _finding(attr, "invalid_patterns", text)


def _group(name: Any) -> Group:
    found = Group.objects.filter(name=name).first() if isinstance(name, str) and name.isprintable() else None
    if found is None:
        raise _finding("groups", "group_not_found", f"There is no group called {str(name)[:80]!r}.")
    return found


def _discovery_user(actor: User, server: MCPServer, row: ToolPolicy, name: Any) -> User | None:
    """Return whose connection discovery will use: one's own, or anybody's if an admin says so."""
    if name is None or (row.discovery_user and row.discovery_user.get_username() == name):
        return None if name is None else row.discovery_user
    if name != actor.get_username() and not rights.is_admin(actor):
        text = "Only superusers and members of the group admins may name somebody else. Name yourself."
        raise rights.PermissionRefused("permission_denied", text, "discovery_user")
    user = User.objects.filter(username=name).first() if isinstance(name, str) and name.isprintable() else None
    if user is None or not rights.may(user, "use", server):
        text = f"There is no user {str(name)[:80]!r} who may use {server.name}."
        raise _finding("discovery_user", "user_not_found", text)
    return user


def _unique(patterns: list[str]) -> list[str]:
    return list(dict.fromkeys(patterns))


def _finding(attr: str, code: str, text: str) -> ValidationError:
    return ValidationError({attr: ValidationError(text, code=code)})
