"""Ask a provider whether what was entered is right, before any user meets it."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from clients.api.permissions import caller
from clients.api.strict import NoFields
from providers import check

CHECK_RIGHTS = {"check": "change"}


class FindingSerializer(serializers.Serializer[Any]):
    """One thing that the check found, with the way out."""

    level = serializers.ChoiceField(choices=["ok", "warning", "error"])
    field = serializers.CharField(help_text="The provider's field that it is about")
    detail = serializers.CharField(source="sentence")


class FindingsSerializer(serializers.Serializer[Any]):
    """Everything that the check found; never empty for a provider that could be asked."""

    findings = FindingSerializer(many=True)


WRONG_METHOD = OpenApiExample(
    "Another auth method",
    {
        "findings": [
            {
                "level": "error",
                "field": "token_endpoint_auth_method",
                "detail": "The provider refuses the client by client_secret_basic and accepts it by "
                "client_secret_post. Choose client_secret_post.",
            }
        ]
    },
    response_only=True,
)


class CheckActions:
    """A viewset mixin: check a saved provider."""

    get_object: Any

    @extend_schema(request=NoFields, responses=FindingsSerializer, examples=[WRONG_METHOD])
    @action(detail=True, methods=["post"])
    def check(self, request: Request, name: str) -> Response:
        """Compare with the issuer's metadata and ask the token endpoint with a made-up code; nothing is changed.

        Sends the client's secret where the provider says, so it needs `use` on that secret as well.
        """
        NoFields(data=request.data).is_valid(raise_exception=True)
        findings = check.check_as(caller(request), self.get_object())
        return Response(FindingsSerializer({"findings": findings}).data)
