"""Every path that Django serves; `/mcp/v1/` is taken by the data plane in `aigateway.asgi` before it comes here."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("clients.urls")),
    path("admin/", admin.site.urls),
    path("", include("connections.urls")),
    path("", include("mcpservers.urls")),
    path("api/v1/", include("providers.api.urls")),
    path("api/v1/", include("mcpservers.api.urls")),
    path("api/v1/", include("vault.api.urls")),
    path("api/v1/", include("connections.api.urls")),
    path("api/v1/", include("clients.api.urls")),
]
