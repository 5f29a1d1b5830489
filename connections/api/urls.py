"""Addresses of the connections, and of what ends all of a user's."""

from rest_framework.routers import SimpleRouter

from connections.api.offboarding import UserViewSet
from connections.api.views import ConnectionViewSet

router = SimpleRouter()
router.register("connections", ConnectionViewSet, basename="api-connection")
router.register("users", UserViewSet, basename="api-user")
urlpatterns = router.urls
