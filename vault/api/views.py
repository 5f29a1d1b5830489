"""`/api/v1/secrets/`."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from clients.api.permissions import caller
from clients.api.resources import NamedResource
from vault import secrets
from vault.api.filters import SecretFilter
from vault.api.serializers import SecretSerializer
from vault.models import Secret

FORCE = OpenApiParameter(
    "force", enum=["true", "false"], description="Delete it although it is used; what uses it then fails."
)


class SecretViewSet(NamedResource[Secret]):
    """Secrets: written, rotated and deleted here, read back by nobody."""

    queryset = Secret.objects.all()
    serializer_class: type[BaseSerializer[Secret]] = SecretSerializer
    filterset_class = SecretFilter
    lookup_value_regex = r"[A-Z][A-Z0-9_]{0,127}"
    parameters: ClassVar = {"destroy": ("force",)}

    @extend_schema(parameters=[FORCE], responses={204: None})
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete the secret; 400 `in_use`, naming them, while something refers to it, unless that is forced."""
        return super().destroy(request, *args, **kwargs)

    def perform_destroy(self, instance: Secret) -> None:
        """Delete the secret. Raises ValidationError."""
        asked = self.request.query_params.get("force", "false")
        if asked not in ("true", "false"):
            raise ValidationError({"force": ErrorDetail("Give true or false.", "invalid_choice")})
        try:
            secrets.delete(instance, actor=caller(self.request), is_forced=asked == "true")
        except secrets.SecretInUse as in_use:
            text = f"{in_use} With ?force=true it goes all the same, and what uses it fails."
            raise ValidationError({"name": ErrorDetail(text, "in_use")}) from None
