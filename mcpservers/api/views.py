"""`/api/v1/mcp-servers/`."""

from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from clients.api.errors import NotAnswered
from clients.api.permissions import caller
from clients.api.resources import NamedResource
from clients.api.strict import NoFields
from mcpservers import authoring, discovery, impact
from mcpservers.api.activity import ActivityActions
from mcpservers.api.explain import ExplainAction
from mcpservers.api.filters import ServerFilter
from mcpservers.api.impact import (
    AUTH_IMPACT_EXAMPLES,
    SCOPE_IMPACT_EXAMPLES,
    AuthSerializer,
    ImpactSerializer,
    RequiredScopesSerializer,
)
from mcpservers.api.serializers import MCPServerSerializer, ToolAnswerSerializer, ToolCallSerializer, ToolsSerializer
from mcpservers.api.tool_policy import ToolPolicyActions
from mcpservers.dataplane import local_call
from mcpservers.models import MCPServer
from mcpservers.tool_policy import reading


class MCPServerViewSet(ActivityActions, ExplainAction, ToolPolicyActions, NamedResource[MCPServer]):
    """MCP servers, their tools, and calls of a tool for scripts that speak no MCP."""

    queryset = MCPServer.objects.all()
    serializer_class: type[BaseSerializer[MCPServer]] = MCPServerSerializer
    filterset_class = ServerFilter
    rights_asked: ClassVar = {
        "scope_impact": "change",
        "auth_impact": "change",
        "tools": "view",
        "refresh_tools": "change",
        "call_tool": "use",
        # Of their own calls; of somebody else's, for admins only (`explain.asked_about`).
        "explain": "view",
        # Their own calls; everybody's only with `change` (`activity.reading`).
        "activity": "view",
        "activity_summary": "view",
        "tool_policy": "change",
        "put_tool_policy": "change",
        "approve_tool": "change",
        "approve_tools": "change",
    }

    def get_queryset(self) -> QuerySet[MCPServer]:
        """Return the servers that the caller may view, with what says which of their tools."""
        return reading.with_policies(super().get_queryset(), caller(self.request))

    def perform_destroy(self, instance: MCPServer) -> None:
        """Delete the server."""
        authoring.delete(caller(self.request), instance)

    @extend_schema(request=RequiredScopesSerializer, responses=ImpactSerializer, examples=SCOPE_IMPACT_EXAMPLES)
    @action(detail=True, methods=["post"], url_path="scope-impact")
    def scope_impact(self, request: Request, name: str) -> Response:
        """Say how many users would have to reconnect with these required scopes; nothing is changed."""
        server = self.get_object()
        body = RequiredScopesSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        found = impact.scope_impact(server, body.validated_data["required_scopes"])
        return Response({"reconnects": found.reconnects, "detail": found.sentence})

    @extend_schema(request=AuthSerializer, responses=ImpactSerializer, examples=AUTH_IMPACT_EXAMPLES)
    @action(detail=True, methods=["post"], url_path="auth-impact")
    def auth_impact(self, request: Request, name: str) -> Response:
        """Say how many users would have to connect with this `auth`; nothing is changed."""
        server = self.get_object()
        body = AuthSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        auth = body.validated_data["auth"]
        authoring.require_attach_of(caller(request), auth)
        found = impact.auth_impact(server, auth)
        return Response({"reconnects": found.reconnects, "detail": found.sentence})

    @extend_schema(responses=ToolsSerializer)
    @action(detail=True, methods=["get"])
    def tools(self, request: Request, name: str) -> Response:
        """Return the tools as last seen."""
        return Response(ToolsSerializer(self.get_object(), context=self.get_serializer_context()).data)

    @extend_schema(request=NoFields, responses=ToolsSerializer)
    @action(detail=True, methods=["post"], url_path="refresh-tools")
    def refresh_tools(self, request: Request, name: str) -> Response:
        """Ask the server for its tools now, as the caller; 502 `discovery_failed` when it does not answer."""
        server = self.get_object()
        NoFields(data=request.data).is_valid(raise_exception=True)
        try:
            discovery.refresh_tools(server, user_id=request.user.pk)
        except discovery.DiscoveryFailed as failed:
            raise NotAnswered(str(failed), "discovery_failed") from None
        server.refresh_from_db()
        return Response(ToolsSerializer(server, context=self.get_serializer_context()).data)

    @extend_schema(request=ToolCallSerializer, responses=ToolAnswerSerializer)
    @action(detail=True, methods=["post"], url_path=r"tools/(?P<tool>.+)/call")
    def call_tool(self, request: Request, name: str, tool: str) -> Response:
        """Call a tool as the caller, through the data plane; 200 with the JSON-RPC `result` or `error`.

        A server in the mode `token_passthrough` is sent the request's `X-Upstream-Authorization`.
        """
        server = self.get_object()
        body = ToolCallSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            arguments, own = body.validated_data["arguments"], request.headers.get("X-Upstream-Authorization")
            answer = local_call.call_tool(caller(request), server.name, tool, arguments, own)
        except local_call.CallRefused as refused:
            raise NotAnswered(refused.detail, refused.code, status=refused.status) from None
        return Response({key: answer[key] for key in ("result", "error") if key in answer})
