"""The pages of the MCP servers."""

from django.urls import path

from mcpservers import pages

urlpatterns = [
    path("", pages.home, name="home"),
    path("servers/", pages.servers, name="servers"),
    path("servers/<slug:name>/", pages.server, name="server"),
    path("servers/<slug:name>/token/", pages.make_token, name="server-token"),
    path("servers/<slug:name>/call/", pages.call, name="server-call"),
    path("servers/<slug:name>/refresh/", pages.refresh, name="server-refresh"),
]
