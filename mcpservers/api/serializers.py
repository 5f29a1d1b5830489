"""The JSON of a server (contract §4)."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clients.api.strict import Object, StrictFields
from mcpservers import authoring
from mcpservers.models import MCPServer
from mcpservers.tool_policy import reading


@extend_schema_field({"type": "array", "items": {"type": "object", "additionalProperties": True}})
class ShownTools(serializers.Field[Any, Any, Any, Any]):
    """The tools that the caller may know of (`mcpservers.tool_policy`)."""

    def __init__(self) -> None:
        super().__init__(read_only=True, source="*")

    def to_representation(self, value: MCPServer) -> list[dict[str, Any]]:
        """Return them as the server listed them."""
        return reading.tools_shown(self.context["request"].user, value)


class MCPServerSerializer(StrictFields, serializers.ModelSerializer[MCPServer]):
    """A server; `auth` is one of the contract's objects."""

    auth = Object(required=False)
    config = Object(required=False)
    tools = ShownTools()

    class Meta:
        model = MCPServer
        fields = ("uid", *authoring.FIELDS, "endpoint_url", "tools", "tools_refreshed_at", "created_at", "updated_at")
        read_only_fields = ("uid", "endpoint_url", "tools_refreshed_at", "created_at", "updated_at")
        extra_kwargs: ClassVar[dict[str, Any]] = {"name": {"validators": []}}

    def create(self, validated_data: dict[str, Any]) -> MCPServer:
        """Save a new server."""
        return authoring.save(self.context["request"].user, MCPServer(**validated_data))

    def update(self, instance: MCPServer, validated_data: dict[str, Any]) -> MCPServer:
        """Save a changed server. A PATCH that sends `auth` means it: it attaches the provider that it names."""
        for name, value in validated_data.items():
            setattr(instance, name, value)
        user = self.context["request"].user
        return authoring.save(user, instance, attach_again=self.partial and "auth" in validated_data)


class ToolsSerializer(serializers.ModelSerializer[MCPServer]):
    """What the server was last seen to offer."""

    tools = ShownTools()

    class Meta:
        model = MCPServer
        fields = ("tools", "tools_refreshed_at")
        read_only_fields = fields


class ToolCallSerializer(StrictFields):
    """The body of a tool call."""

    arguments = serializers.DictField(default=dict)


class ToolAnswerSerializer(serializers.Serializer[Any]):
    """The JSON-RPC `result`, or the `error`, as the server gave it."""

    result = serializers.DictField(required=False)
    error = serializers.DictField(required=False)
