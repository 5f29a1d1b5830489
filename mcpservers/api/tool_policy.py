"""`NAME/tool-policy/` and the approval of changed tools."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from clients.api.permissions import caller
from clients.api.strict import StrictFields, StringList
from mcpservers.models import GroupToolPolicy, MCPServer, OnChange, ToolPolicy
from mcpservers.tool_policy import review, writing
from mcpservers.tool_policy.writing import Wanted

EXAMPLE = OpenApiExample(
    "Readers and writers",
    {
        "on_change": "hold",
        "allow": [],
        "deny": ["delete_*"],
        "groups": [{"group": "members", "allow": ["get_*", "list_*"], "deny": []}],
        "discovery_user": None,
    },
)


class GroupRulesSerializer(StrictFields):
    """What the members of one group may use."""

    group = serializers.CharField(max_length=150)
    allow = StringList(required=False)
    deny = StringList(required=False)


class PendingSerializer(serializers.Serializer[Any]):
    """A tool that waits for review."""

    tool = serializers.CharField()
    kind = serializers.ChoiceField(choices=["new", "changed"])
    digest = serializers.CharField(help_text="Send it back with the approval, to approve just what was looked at.")
    was = serializers.DictField(allow_null=True)
    now = serializers.DictField()


class ToolPolicySerializer(StrictFields):
    """Which tools may be used, by names and shell patterns; an empty `allow` allows all, and `deny` wins."""

    on_change = serializers.ChoiceField(choices=OnChange.choices, default=OnChange.WARN.value)
    allow = StringList(required=False)
    deny = StringList(required=False)
    groups = GroupRulesSerializer(many=True, default=list)
    discovery_user = serializers.CharField(
        default=None, allow_null=True, max_length=150, help_text="Whose connection discovery uses; null: whoever asks."
    )
    pending = PendingSerializer(many=True, read_only=True)
    pending_digest = serializers.CharField(read_only=True)


class ApprovalSerializer(StrictFields):
    """What is approved."""

    digest = serializers.CharField(required=False, max_length=64, help_text="Of what was looked at; else of what is.")


class ToolPolicyActions:
    """A viewset mixin: the policy on a server's tools, for those who may change the server."""

    get_object: Any

    @extend_schema(responses=ToolPolicySerializer, examples=[EXAMPLE])
    @action(detail=True, methods=["get"], url_path="tool-policy")
    def tool_policy(self, request: Request, name: str) -> Response:
        """Return which tools may be used by whom, and which wait for review."""
        return Response(_shown(self.get_object()))

    @extend_schema(request=ToolPolicySerializer, responses=ToolPolicySerializer, examples=[EXAMPLE])
    @tool_policy.mapping.put
    def put_tool_policy(self, request: Request, name: str) -> Response:
        """Replace the whole policy: what is left out is as on a new server. No connection changes."""
        server = self.get_object()
        body = ToolPolicySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = dict(body.validated_data)
        groups = [(each["group"], each.get("allow", []), each.get("deny", [])) for each in given.pop("groups")]
        writing.save(caller(request), server, Wanted(groups=groups, **given))
        return Response(_shown(server))

    @extend_schema(request=ApprovalSerializer, responses=ToolPolicySerializer)
    @action(detail=True, methods=["post"], url_path=r"tools/(?P<tool>.+)/approve")
    def approve_tool(self, request: Request, name: str, tool: str) -> Response:
        """Approve one tool as the server lists it now; 400 `tool_changed` when it is not what `digest` says."""
        server = self.get_object()
        review.approve(caller(request), server, tool, _digest(request))
        return Response(_shown(server))

    @extend_schema(
        operation_id="mcp_servers_tools_approve_all", request=ApprovalSerializer, responses=ToolPolicySerializer
    )
    @action(detail=True, methods=["post"], url_path="tools/approve")
    def approve_tools(self, request: Request, name: str) -> Response:
        """Approve every tool as the server lists it now; `digest` is the policy's `pending_digest`."""
        server = self.get_object()
        review.approve_all(caller(request), server, _digest(request))
        return Response(_shown(server))


def _digest(request: Request) -> str | None:
    body = ApprovalSerializer(data=request.data)
    body.is_valid(raise_exception=True)
    digest: str | None = body.validated_data.get("digest")
    return digest


def _shown(server: MCPServer) -> dict[str, Any]:
    row = ToolPolicy.objects.filter(server=server).select_related("discovery_user").first() or ToolPolicy()
    groups = GroupToolPolicy.objects.filter(server=server).select_related("group").order_by("group__name")
    pending = review.pending(server)
    return {
        "on_change": row.on_change,
        "allow": row.allow,
        "deny": row.deny,
        "groups": [{"group": each.group.name, "allow": each.allow, "deny": each.deny} for each in groups],
        "discovery_user": row.discovery_user.get_username() if row.discovery_user else None,
        "pending": [
            {"tool": each.name, "kind": each.kind, "digest": review.digest_of([each]), "was": each.was, "now": each.now}
            for each in pending
        ],
        "pending_digest": review.digest_of(pending),
    }
