"""What a change or a deletion of a provider would hit: asked before it is made, changing nothing."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from clients.api.permissions import caller
from clients.api.strict import StrictFields, StringList
from providers import impact
from providers.api.serializers import OAuthProviderSerializer
from providers.models import OAuthProvider
from providers.validation import scope_findings


class ScopesSerializer(StrictFields):
    """The scopes that the provider would have."""

    scopes = StringList()

    def validate_scopes(self, scopes: Any) -> list[str]:
        """Check them as the provider would (RFC 6749 §3.3)."""
        for _, sentence in scope_findings(scopes, self.context["provider"].scope_delimiter):
            raise ValidationError(ErrorDetail(sentence, "invalid_scopes"))
        checked: list[str] = scopes
        return checked


class ImpactSerializer(serializers.Serializer[Any]):
    """How many connections will have to reconnect, in numbers and in a sentence."""

    reconnects = serializers.IntegerField()
    detail = serializers.CharField()


class ChangeImpactSerializer(ImpactSerializer):
    """The same, and how many of them the change ends at once because credentials would go elsewhere."""

    cut_off = serializers.IntegerField()


class ServerUseSerializer(serializers.Serializer[Any]):
    """A server that is bound to the provider."""

    name = serializers.CharField()
    enabled = serializers.BooleanField(source="is_enabled")
    required_scopes = serializers.ListField(child=serializers.CharField())


class CountsSerializer(serializers.Serializer[Any]):
    """Connections of users, by status."""

    connected = serializers.IntegerField()
    needs_attention = serializers.IntegerField()
    total = serializers.IntegerField()


class UsesSerializer(serializers.Serializer[Any]):
    """What is bound to a provider. Servers that the caller may not view are only counted."""

    servers = ServerUseSerializer(many=True)
    hidden_servers = serializers.IntegerField()
    connections = CountsSerializer()
    detail = serializers.CharField(source="sentence", help_text="What deleting the provider would hit")


SCOPES = OpenApiExample("Two scopes", {"scopes": ["repo", "read:user"]}, request_only=True)
THREE = OpenApiExample(
    "Three lack one",
    {
        "reconnects": 3,
        "detail": "3 connections have to reconnect to be granted repo, and go on working as they are until then.",
    },
    response_only=True,
)
MOVED = OpenApiExample("Moved", {"token_endpoint": "https://login.example.com/token"}, request_only=True)
CUT = OpenApiExample(
    "Twelve are cut off",
    {
        "reconnects": 12,
        "cut_off": 12,
        "detail": "12 connections are cut off, because it changes who receives their credentials; "
        "their users have to reconnect.",
    },
    response_only=True,
)
USED = OpenApiExample(
    "Used",
    {
        "servers": [{"name": "issues", "enabled": True, "required_scopes": ["repo"]}],
        "hidden_servers": 0,
        "connections": {"connected": 11, "needs_attention": 1, "total": 12},
        "detail": "12 connections end and will be revoked at the provider; "
        "1 MCP server will answer OAuthProviderNotFound.",
    },
    response_only=True,
)


IMPACT_RIGHTS = {"scope_impact": "change", "change_impact": "change", "used_by": "view"}


class ImpactActions:
    """A viewset mixin: whom a change of the provider, or its end, would hit."""

    get_object: Any
    get_serializer: Any

    @extend_schema(request=ScopesSerializer, responses=ImpactSerializer, examples=[SCOPES, THREE])
    @action(detail=True, methods=["post"], url_path="scope-impact")
    def scope_impact(self, request: Request, name: str) -> Response:
        """Say how many connections these scopes would have to ask again; nothing is changed."""
        provider = self.get_object()
        body = ScopesSerializer(data=request.data, context={"provider": provider})
        body.is_valid(raise_exception=True)
        found = impact.scope_impact(provider, body.validated_data["scopes"])
        return Response({"reconnects": found.reconnects, "detail": found.sentence})

    @extend_schema(
        request=OAuthProviderSerializer(partial=True), responses=ChangeImpactSerializer, examples=[MOVED, CUT]
    )
    @action(detail=True, methods=["post"], url_path="change-impact")
    def change_impact(self, request: Request, name: str) -> Response:
        """Say how many connections a PATCH with this body would cut off or have to ask again; nothing is changed."""
        provider: OAuthProvider = self.get_object()
        body = self.get_serializer(provider, data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        after = OAuthProvider.objects.get(pk=provider.pk)
        for field, value in body.validated_data.items():
            setattr(after, field, value)
        after.full_clean()
        cut, found = impact.change(provider, after)
        return Response({"reconnects": found.reconnects, "cut_off": cut, "detail": found.sentence})

    @extend_schema(responses=UsesSerializer, examples=[USED])
    @action(detail=True, methods=["get"], url_path="used-by")
    def used_by(self, request: Request, name: str) -> Response:
        """Return the servers bound to the provider and its connections by status: what its deletion would hit."""
        return Response(UsesSerializer(impact.uses(self.get_object(), caller(request))).data)
