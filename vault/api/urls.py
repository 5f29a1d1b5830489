"""Addresses of the secrets."""

from rest_framework.routers import SimpleRouter

from vault.api.views import SecretViewSet

router = SimpleRouter()
router.register("secrets", SecretViewSet, basename="api-secret")
urlpatterns = router.urls
