"""The paths of a consent, and the Connections page."""

from django.urls import URLPattern, URLResolver, path

from connections import device_pages, pages, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("connections/", pages.connections, name="connections"),
    path("connections/<slug:provider_name>/disconnect/", pages.disconnect, name="connection-disconnect"),
    path("connections/<slug:provider_name>/device/", device_pages.ask, name="connection-device"),
    path("connections/<slug:provider_name>/device/<uuid:uid>/", device_pages.code, name="connection-device-code"),
    path("oauth/v1/authorize", views.authorize, name="consent"),
    path("oauth/v1/callback", views.callback, name="consent-callback-shared"),
    path("oauth/v1/callback/<slug:name>", views.callback, name="consent-callback"),
    path("oauth/v1/done/<slug:name>", views.done, name="consent-done"),
]
