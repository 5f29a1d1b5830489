"""Addresses of the servers."""

from rest_framework.routers import SimpleRouter

from mcpservers.api.views import MCPServerViewSet

router = SimpleRouter()
router.register("mcp-servers", MCPServerViewSet, basename="api-mcp-server")
urlpatterns = router.urls
