"""`/api/v1/oauth-provider-presets/`: the catalog, read only, the same for every signed-in caller."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from clients.api.strict import StringList, read_ordering, refuse_unknown_parameters
from providers import presets
from providers.api import examples
from providers.models import AuthMethod
from providers.presets import Preset

FILTERS = ("category", "search", "name_contains")
ORDERINGS = ("name", "display_name", "category")
LIST_PARAMETERS = [
    OpenApiParameter("category", enum=presets.CATEGORIES),
    OpenApiParameter("search", description="Words, each of which occurs in name, display name or category."),
    OpenApiParameter("name_contains"),
    OpenApiParameter("ordering", description=f"One of {', '.join(ORDERINGS)}; a minus before it reverses."),
]


class ParameterSerializer(serializers.Serializer[presets.Parameter]):
    """A placeholder; `rule` says what its value must look like."""

    name = serializers.CharField()
    hint = serializers.CharField()
    example = serializers.CharField()
    rule = serializers.CharField(source="rule_in_words")
    choices = StringList()


@extend_schema_serializer(examples=examples.PRESET)
class PresetSerializer(serializers.Serializer[Preset]):
    """A preset: what it fills in a provider, and what to know about it."""

    name = serializers.CharField()
    display_name = serializers.CharField()
    category = serializers.ChoiceField(choices=presets.CATEGORIES)
    authorization_endpoint = serializers.CharField()
    token_endpoint = serializers.CharField()
    revocation_endpoint = serializers.CharField()
    device_authorization_endpoint = serializers.CharField()
    userinfo_endpoint = serializers.CharField()
    account_claim = serializers.CharField()
    issuer = serializers.CharField()
    resource = serializers.CharField()
    token_endpoint_auth_method = serializers.ChoiceField(choices=AuthMethod.choices)
    scopes = StringList()
    scope_delimiter = serializers.CharField(trim_whitespace=False)
    authorize_params = serializers.DictField(child=serializers.CharField())
    require_pkce = serializers.BooleanField()
    callback_mode = serializers.CharField()
    parameters = ParameterSerializer(many=True)
    quirks = serializers.SerializerMethodField()
    notes = StringList()
    docs_url = serializers.CharField()
    mcp_server_url = serializers.CharField()

    def get_quirks(self, preset: Preset) -> list[str]:
        """Return the quirks in one order."""
        return sorted(preset.quirks)


class PresetViewSet(GenericViewSet):  # type: ignore[type-arg]
    """Presets: known providers, to start a provider from with `preset` and `preset_parameters`."""

    serializer_class = PresetSerializer
    filter_backends = ()
    lookup_field = "name"
    lookup_value_regex = r"[a-z][a-z0-9-]{0,62}"

    @extend_schema(parameters=LIST_PARAMETERS, responses=PresetSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Return the presets, narrowed as asked."""
        page: Any = self.paginate_queryset(narrowed(request.query_params))
        return self.get_paginated_response(PresetSerializer(page, many=True).data)

    @extend_schema(responses=PresetSerializer)
    def retrieve(self, request: Request, name: str) -> Response:
        """Return one preset."""
        refuse_unknown_parameters(request.query_params, FILTERS)
        preset = presets.get(name)
        if preset is None:
            raise NotFound
        return Response(PresetSerializer(preset).data)


def narrowed(params: Mapping[str, str]) -> list[Preset]:
    """Return the presets asked for, in the order asked for. Raises ValidationError."""
    refuse_unknown_parameters(params, FILTERS)
    category, part = params.get("category", ""), params.get("name_contains", "").casefold()
    if category and category not in presets.CATEGORIES:
        text = f"{category[:40]!r} is no category. Use one of {', '.join(presets.CATEGORIES)}."
        raise ValidationError({"category": ErrorDetail(text, "invalid_choice")})
    found = [preset for preset in presets.search(params.get("search", ""), category) if part in preset.name]
    for term in reversed(read_ordering(params, ORDERINGS) or ["name"]):
        found.sort(key=lambda preset: getattr(preset, term.removeprefix("-")).casefold(), reverse=term[0] == "-")  # noqa: B023
    return found
