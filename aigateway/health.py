"""Liveness, readiness and metrics (contract §3)."""

import uuid
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from redis import Redis, RedisError

from aigateway import scraping
from audit import context
from changes import counter
from clients.addresses import client_address
from metrics import exposition


def alive(request: HttpRequest) -> HttpResponse:
    """Say that the process answers."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> HttpResponse:
    """Say whether the database answers (503 if not), and whether the broker does (degraded if not, G01)."""
    database, broker = _database(), _broker()
    status = "unavailable" if database != "ok" else "ok" if broker in {"ok", "embedded"} else "degraded"
    answer = {"status": status, "database": database, "broker": broker}
    return JsonResponse(answer, status=503 if status == "unavailable" else 200)


def metrics(request: HttpRequest) -> HttpResponse:
    """Give Prometheus the numbers of this host and of the database, if `scraping` lets the caller read them."""
    with context.serving(context.Request(uuid.uuid4().hex, client_address(request))):
        try:
            status = scraping.refusal(request)
        except DatabaseError:
            status = 503
    if not status:
        return HttpResponse(exposition.text(), content_type=exposition.CONTENT_TYPE)
    refused = HttpResponse(f"{_WHY[status]}\n", status=status, content_type="text/plain; charset=utf-8")
    if status == 401:
        refused["WWW-Authenticate"] = "Bearer"
    return refused


_WHY = {
    401: "Metrics are for the networks of AIGW_METRICS_ALLOW and for API tokens of superusers and admins.",
    403: "Metrics are for superusers and the group admins.",
    429: "Too many wrong API tokens from this address. Wait a minute.",
    503: "The database does not answer, so the API token cannot be checked.",
}


def _database() -> str:
    try:
        counter.current()
    except DatabaseError:
        return "unavailable"
    return "ok"


def _broker() -> str:
    if not settings.REDIS_URL:
        return "embedded"
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
            client.ping()
    except RedisError:
        return "unavailable"
    return "ok"


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {"/healthz": alive, "/readyz": ready, "/metrics": metrics}
