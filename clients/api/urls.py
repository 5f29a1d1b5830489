"""What the API says about itself. Included last: everything not known before is a 404 of the API's shape."""

from django.urls import path, re_path

from clients.api import docs

urlpatterns = [
    path("schema/", docs.Schema.as_view(), name="api-schema"),
    path("docs/", docs.docs, name="api-docs"),
    re_path(r"", docs.Nothing.as_view(), name="api-nothing"),
]
