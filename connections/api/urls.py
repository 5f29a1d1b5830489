"""Addresses of the connections."""

from rest_framework.routers import SimpleRouter

from connections.api.views import ConnectionViewSet

router = SimpleRouter()
router.register("connections", ConnectionViewSet, basename="api-connection")
urlpatterns = router.urls
