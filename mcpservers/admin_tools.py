"""The page of a server's tools in the admin: what waits for review, and who may use what. Works without script."""

import difflib
import glob
import json
from dataclasses import dataclass, field
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods

from clients import rights
from clients.rights import PermissionRefused
from mcpservers.models import GroupToolPolicy, MCPServer, OnChange, ToolPolicy
from mcpservers.tool_policy import reading, review, writing
from mcpservers.tool_policy.definitions import Change
from mcpservers.tool_policy.writing import Wanted

EVERYONE = "everyone"
CHOICES = (
    (OnChange.WARN, "Warn", "Calls go on; the tool is flagged here until it is approved."),
    (OnChange.HOLD, "Hold for review", "The tool is neither listed nor called until it is approved."),
)


@dataclass(frozen=True, slots=True)
class Column:
    """One pair of lists: everyone's, or a group's. `key` names its fields in the form."""

    key: str
    label: str
    allow: list[str] = field(default_factory=list)
    deny: list[str] = field(default_factory=list)

    def shown(self, tools: list[str]) -> dict[str, str]:
        """Return what the lists hold besides the tools that have a row, one on a line."""
        rows = {glob.escape(tool) for tool in tools}
        allow, deny = ("\n".join(each for each in listed if each not in rows) for listed in (self.allow, self.deny))
        return {"key": self.key, "label": self.label, "allow": allow, "deny": deny}


class ToolPolicyPages:
    """An admin mixin: the page, and approvals."""

    admin_site: Any
    opts: Any
    get_object: Any
    has_change_permission: Any

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        page = self.admin_site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(self.tools_page))
        own = [path("<path:object_id>/tools/", page, name="mcpservers_mcpserver_tools")]
        return [*own, *super().get_urls()]  # type: ignore[misc]

    def tools_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the policy; save it, or approve what waits."""
        server = self.get_object(request, object_id)
        if not self.has_change_permission(request, server):
            raise PermissionDenied("You need the permission mcpservers.change_mcpserver to set a server's tool policy.")
        wanted, columns = _current(server)
        if request.method == "POST":
            typed = (wanted, columns) if "approve" in request.POST else _typed(request.POST)
            if _done(request, server, typed[0]):
                return redirect(reverse("admin:mcpservers_mcpserver_tools", args=[server.pk]))
            wanted, columns = typed
        elif added := Group.objects.filter(name=request.GET.get("group", "")).first():
            columns = _with_group(columns, added)
        context = {**self.admin_site.each_context(request), "opts": self.opts, "original": server}
        return render(request, "admin/mcpservers/tools.html", context | _shown(server, wanted, columns))


def _done(request: HttpRequest, server: MCPServer, wanted: Wanted) -> bool:
    """Do what the form asks for; False, with a message, when it is refused."""
    actor, sent = cast(User, request.user), request.POST
    try:
        if sent.get("approve") == "all":
            review.approve_all(actor, server, sent.get("digest"))
        elif "approve" in sent:
            review.approve(actor, server, sent.get("tool", ""), sent.get("digest"))
        else:
            writing.save(actor, server, wanted)
    except (ValidationError, PermissionRefused) as refused:
        messages.error(request, "; ".join(getattr(refused, "messages", [str(refused)])))
        return False
    except ObjectDoesNotExist:
        messages.error(request, "The server no longer lists this tool.")
        return False
    messages.success(request, "Approved." if "approve" in sent else "The tool policy was saved.")
    return True


def _current(server: MCPServer) -> tuple[Wanted, list[Column]]:
    row = ToolPolicy.objects.filter(server=server).select_related("discovery_user").first() or ToolPolicy()
    rows = GroupToolPolicy.objects.filter(server=server).select_related("group").order_by("group__name")
    columns = [Column(EVERYONE, "Everyone", row.allow, row.deny)]
    columns += [Column(f"g{each.group_id}", each.group.name, each.allow, each.deny) for each in rows]
    user = row.discovery_user.get_username() if row.discovery_user else None
    return Wanted(on_change=row.on_change, discovery_user=user), columns


def _with_group(columns: list[Column], group: Group) -> list[Column]:
    key = f"g{group.pk}"
    return columns if any(column.key == key for column in columns) else [*columns, Column(key, group.name)]


def _typed(sent: QueryDict) -> tuple[Wanted, list[Column]]:
    """Return the policy as it was typed; a group without any entry has no lists."""
    keys = [EVERYONE, *dict.fromkeys(sent.getlist("group"))]
    names = {f"g{pk}": name for pk, name in Group.objects.values_list("pk", "name")}
    typed = [(_list(sent, "allow", key), _list(sent, "deny", key)) for key in keys]
    columns = [Column(key, names.get(key, "Everyone"), *lists) for key, lists in zip(keys, typed, strict=True)]
    groups = [(each.label, each.allow, each.deny) for each in columns[1:] if each.allow or each.deny]
    user = sent.get("discovery_user", "").strip() or None
    own = columns[0]
    return Wanted(sent.get("on_change"), own.allow, own.deny, groups, user), columns


def _list(sent: QueryDict, which: str, key: str) -> list[str]:
    """Return the chosen tools, as patterns that match just them, and the patterns that were typed."""
    lines = [line.strip() for line in sent.get(f"{which}_other-{key}", "").splitlines()]
    return [*(glob.escape(tool) for tool in sent.getlist(f"{which}-{key}")), *(line for line in lines if line)]


def _shown(server: MCPServer, wanted: Wanted, columns: list[Column]) -> dict[str, Any]:
    tools = [tool["name"] for tool in server.tools if isinstance(tool.get("name"), str)]
    pending = review.pending(server)
    taken = {column.label for column in columns}
    return {
        "title": f"Tools of {server.name}",
        "pending": [{"change": each, "digest": review.digest_of([each]), "members": members(each)} for each in pending],
        "pending_digest": review.digest_of(pending),
        "rows": [{"name": tool, "cells": [_cell(column, tool) for column in columns]} for tool in tools],
        "columns": [each.shown(tools) for each in columns],
        "choices": [(value, label, text, wanted.on_change == value) for value, label, text in CHOICES],
        "discovery_user": wanted.discovery_user or "",
        "groups": [name for name in Group.objects.order_by("name").values_list("name", flat=True) if name not in taken],
        "detail_url": reverse("admin:mcpservers_mcpserver_detail", args=[server.pk]),
    }


def _cell(column: Column, tool: str) -> dict[str, Any]:
    pattern = glob.escape(tool)
    return {
        "key": column.key,
        "label": column.label,
        "is_allowed": pattern in column.allow,
        "is_denied": pattern in column.deny,
    }


def members(change: Change) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what differs of a tool: each member, with its lines marked `was`, `now` or `same`."""
    was = change.was or {}
    return [
        (name, _lines(was.get(name), change.now.get(name)))
        for name in dict.fromkeys([*change.now, *was])
        if was.get(name) != change.now.get(name)
    ]


def _lines(was: Any, now: Any) -> list[tuple[str, str]]:
    marks = {"- ": "was", "+ ": "now", "  ": "same"}
    compared = difflib.ndiff(_text(was), _text(now))
    return [(marks[line[:2]], line[2:]) for line in compared if line[:2] in marks]


def _text(value: Any) -> list[str]:
    if value is None:
        return []
    return (value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)).splitlines()


def shown_tools(user: Any, server: MCPServer) -> dict[str, Any]:
    """Return what a page of one server says of its tools to whoever looks at it."""
    may_change = rights.may(user, "change", server)
    return {
        "shown_tools": reading.tools_shown(user, server),
        "pending_count": len(review.pending(server)) if may_change else 0,
        "tools_url": reverse("admin:mcpservers_mcpserver_tools", args=[server.pk]) if may_change else "",
    }
