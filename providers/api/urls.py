"""Addresses of the providers."""

from rest_framework.routers import SimpleRouter

from providers.api.presets import PresetViewSet
from providers.api.views import OAuthProviderViewSet

router = SimpleRouter()
router.register("oauth-providers", OAuthProviderViewSet, basename="api-oauth-provider")
router.register("oauth-provider-presets", PresetViewSet, basename="api-oauth-provider-preset")
urlpatterns = router.urls
