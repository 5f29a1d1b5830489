"""Read the policy that holds for a caller: once per plan in the data plane, once per page or answer elsewhere."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Prefetch, QuerySet

from clients import rights
from mcpservers.models import GroupToolPolicy, MCPServer, OnChange, ToolPolicy
from mcpservers.tool_policy import definitions
from mcpservers.tool_policy.rules import Policy, Rules

NO_RULES = Rules.of((), ())
OF_GROUPS = "rules_of_callers_groups"


def with_policies(servers: QuerySet[MCPServer], user: User) -> QuerySet[MCPServer]:
    """Fetch, with the servers, what `policy_for` the user needs: two queries, however many servers."""
    of_groups = GroupToolPolicy.objects.filter(group__user=user)
    return (
        servers.select_related("tool_policy")
        .defer("tool_policy__approved")
        .prefetch_related(Prefetch("group_tool_policies", of_groups, to_attr=OF_GROUPS))
    )


def policy_for(user: User, server: MCPServer) -> Policy | None:
    """Return the policy on the server's tools for the user; None where nothing is restricted."""
    of_groups: Collection[GroupToolPolicy] | None = getattr(server, OF_GROUPS, None)
    if of_groups is None:
        of_groups = list(GroupToolPolicy.objects.filter(server=server, group__user=user))
    row: ToolPolicy | None = getattr(server, "tool_policy", None)
    groups = tuple(rules for each in of_groups if (rules := Rules.of(each.allow, each.deny)))
    everyone = Rules.of(row.allow, row.deny) if row else NO_RULES
    if row is None or row.on_change != OnChange.HOLD:
        return Policy(everyone, groups) or None
    approved = row.approved or {}
    changed = frozenset(change.name for change in definitions.changes(server.tools, approved))
    digests = {name: definitions.digest_of(definition) for name, definition in approved.items()}
    return Policy(everyone, groups, digests, changed)


def tools_shown(user: User, server: MCPServer) -> list[dict[str, Any]]:
    """Return the cached tools that the user may know of; all of them to who may change the server."""
    policy = policy_for(user, server)
    tools: list[dict[str, Any]] = server.tools
    return tools if policy is None or rights.may(user, "change", server) else policy.visible(tools)
