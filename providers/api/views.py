"""`/api/v1/oauth-providers/`."""

from rest_framework.serializers import BaseSerializer

from clients.api.permissions import caller
from clients.api.resources import NamedResource
from providers import authoring
from providers.api.filters import ProviderFilter
from providers.api.serializers import OAuthProviderSerializer
from providers.models import OAuthProvider


class OAuthProviderViewSet(NamedResource[OAuthProvider]):
    """OAuth providers: upstream authorization servers that users connect to."""

    queryset = OAuthProvider.objects.all()
    serializer_class: type[BaseSerializer[OAuthProvider]] = OAuthProviderSerializer
    filterset_class = ProviderFilter
    ordering_fields = ("name", "display_name", "created_at", "updated_at")

    def perform_destroy(self, instance: OAuthProvider) -> None:
        """Delete the provider; what was connected through it is revoked in the background."""
        authoring.delete(caller(self.request), instance)
