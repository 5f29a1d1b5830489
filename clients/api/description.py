"""How every operation is described: who may call, its own answers, and one shape for whatever went wrong."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

ERROR = inline_serializer(
    "Error",
    {
        "code": serializers.CharField(),
        "detail": serializers.CharField(),
        "attr": serializers.CharField(allow_null=True),
    },
    many=True,
)
ERRORS = inline_serializer("Errors", {"type": serializers.CharField(), "errors": ERROR})


class Description(AutoSchema):
    """Adds the error shape (contract §4) as the default answer."""

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        if direction == "response":
            bodies["default"] = self._get_response_for_code(ERRORS, "default")  # type: ignore[no-untyped-call]
        return bodies


class TokenDescription(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """An API token, as a bearer token (RFC 6750)."""

    target_class = "clients.api.authentication.ApiTokenAuthentication"
    name = "apiToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        return {"type": "http", "scheme": "bearer"}


class SessionDescription(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The cookie of a signed-in browser."""

    target_class = "clients.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        return {"type": "apiKey", "in": "cookie", "name": "aigw_session"}
