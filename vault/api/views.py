"""`/api/v1/secrets/`."""

from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.serializers import BaseSerializer

from clients.api.permissions import caller
from clients.api.resources import NamedResource
from vault import secrets
from vault.api.filters import SecretFilter
from vault.api.serializers import SecretSerializer
from vault.models import Secret


class SecretViewSet(NamedResource[Secret]):
    """Secrets: written, rotated and deleted here, read back by nobody."""

    queryset = Secret.objects.all()
    serializer_class: type[BaseSerializer[Secret]] = SecretSerializer
    filterset_class = SecretFilter
    lookup_value_regex = r"[A-Z][A-Z0-9_]{0,127}"

    def perform_destroy(self, instance: Secret) -> None:
        """Delete the secret; 400 `in_use` while something refers to it."""
        try:
            secrets.delete(instance, actor=caller(self.request))
        except secrets.SecretInUse as in_use:
            raise ValidationError({"name": ErrorDetail(str(in_use), "in_use")}) from None
