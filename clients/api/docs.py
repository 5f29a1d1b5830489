"""The API describes itself: an OpenAPI schema, a page that lists it, and a clear answer where there is nothing."""

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

METHODS = ("get", "post", "put", "patch", "delete")


@cache
def schema() -> dict[str, Any]:
    """Return the OpenAPI description, made once in a process."""
    made: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return made


class Schema(APIView):
    """`/api/v1/schema/`: what there is, the same for everyone."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    renderer_classes = (JSONRenderer, OpenApiJsonRenderer, OpenApiYamlRenderer)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """Return the description, as JSON unless YAML is asked for."""
        return Response(schema())


def docs(request: HttpRequest) -> HttpResponse:
    """Show the description as a plain page: no script, nothing from another site."""
    operations = [
        {"method": method.upper(), "path": path, **item[method]}
        for path, item in schema()["paths"].items()
        for method in METHODS
        if method in item
    ]
    return render(request, "clients/api_docs.html", {"operations": operations})


class Nothing(APIView):
    """Whatever is not an address of the API."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Answer 404 in the API's error shape, whatever the method."""
        self.http_method_names = []
        self.http_method_not_allowed = self._refuse  # type: ignore[method-assign]
        return super().dispatch(request, *args, **kwargs)

    def _refuse(self, *_: Any, **__: Any) -> Response:
        raise NotFound("There is nothing at this address. Addresses end with a slash; /api/v1/docs/ lists them.")
