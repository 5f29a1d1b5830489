"""Every path that Django serves; `/mcp/v1/` is taken by the data plane in `aigateway.asgi` before it comes here."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
