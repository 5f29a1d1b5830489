"""Liveness, readiness and metrics (contract §3)."""

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis import Redis, RedisError

from changes import counter


def alive() -> HttpResponse:
    """Say that the process answers."""
    return JsonResponse({"status": "ok"})


def ready() -> HttpResponse:
    """Say whether the database answers (503 if not), and whether the broker does (degraded if not, G01)."""
    database, broker = _database(), _broker()
    status = "unavailable" if database != "ok" else "ok" if broker in {"ok", "embedded"} else "degraded"
    answer = {"status": status, "database": database, "broker": broker}
    return JsonResponse(answer, status=503 if status == "unavailable" else 200)


def metrics() -> HttpResponse:
    """Give Prometheus this process's metrics."""
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


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


PROBES: dict[str, Callable[[], HttpResponse]] = {"/healthz": alive, "/readyz": ready, "/metrics": metrics}
