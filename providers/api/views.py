"""`/api/v1/oauth-providers/`."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.serializers import BaseSerializer

from clients.api.permissions import caller
from clients.api.resources import NamedResource
from providers import authoring
from providers.api import examples
from providers.api.check import CHECK_RIGHTS, CheckActions
from providers.api.filters import ProviderFilter
from providers.api.impact import IMPACT_RIGHTS, ImpactActions
from providers.api.serializers import OAuthProviderSerializer
from providers.models import OAuthProvider


@extend_schema_view(partial_update=extend_schema(examples=examples.CHANGE))
class OAuthProviderViewSet(CheckActions, ImpactActions, NamedResource[OAuthProvider]):
    """OAuth providers: upstream authorization servers that users connect to."""

    queryset = OAuthProvider.objects.all()
    serializer_class: type[BaseSerializer[OAuthProvider]] = OAuthProviderSerializer
    filterset_class = ProviderFilter
    ordering_fields = ("name", "display_name", "created_at", "updated_at")
    rights_asked: ClassVar = {**IMPACT_RIGHTS, **CHECK_RIGHTS}

    def perform_destroy(self, instance: OAuthProvider) -> None:
        """Delete the provider; what was connected through it is revoked in the background."""
        authoring.delete(caller(self.request), instance)
