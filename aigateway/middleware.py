"""What every Django request passes first: health, a request id, and the address it comes from."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from aigateway import health
from audit import context
from clients.addresses import client_address

GetResponse = Callable[[HttpRequest], HttpResponseBase]
REQUEST_ID = re.compile(r"\A[A-Za-z0-9._-]{8,64}\Z")


class HealthMiddleware:
    """Answer the probes before anything asks for a Host header: a load balancer calls by address."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve `/healthz`, `/readyz` and `/metrics`; pass everything else on."""
        view: Callable[[HttpRequest], HttpResponse] | None = health.PROBES.get(request.path)
        return view(request) if view else self.get_response(request)


class RequestIdMiddleware:
    """Give each request an id (the caller's, if it looks like one), in logs, audit rows and the answer."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Serve the request under its id."""
        offered = request.headers.get("X-Request-ID", "")
        request_id = offered if REQUEST_ID.match(offered) else uuid.uuid4().hex
        with context.serving(context.Request(request_id, client_address(request))):
            response = self.get_response(request)
        response["X-Request-ID"] = request_id
        return response


class NoStoreMiddleware:
    """Keep pages and answers, all of them personal, out of every cache."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Add `Cache-Control: no-store` unless the view decided otherwise."""
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response
