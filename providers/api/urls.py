"""Addresses of the providers."""

from rest_framework.routers import SimpleRouter

from providers.api.views import OAuthProviderViewSet

router = SimpleRouter()
router.register("oauth-providers", OAuthProviderViewSet, basename="api-oauth-provider")
urlpatterns = router.urls
