"""The probes: reachable by address, without a Host that is ours, without a session."""

import pytest
from django.db import DatabaseError
from django.test import Client

from changes import counter

pytestmark = pytest.mark.django_db


@pytest.fixture
def balancer() -> Client:
    """Someone who calls by address."""
    return Client(headers={"host": "10.1.2.3"})


def test_alive(balancer: Client) -> None:
    assert balancer.get("/healthz").json() == {"status": "ok"}


def test_ready(balancer: Client) -> None:
    answer = balancer.get("/readyz")
    assert (answer.status_code, answer.json()["database"]) == (200, "ok")


def test_without_a_database_it_is_alive_but_not_ready(balancer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise DatabaseError("down")

    monkeypatch.setattr(counter, "current", fail)
    assert balancer.get("/healthz").status_code == 200
    answer = balancer.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")


def test_without_the_broker_it_is_degraded_and_still_ready(balancer: Client, settings: pytest.FixtureRequest) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    answer = balancer.get("/readyz")
    assert (answer.status_code, answer.json()["status"], answer.json()["broker"]) == (200, "degraded", "unavailable")


def test_metrics_are_prometheus_text(balancer: Client) -> None:
    answer = balancer.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b"# HELP process_" in answer.content


def test_any_other_path_asks_for_our_host(balancer: Client) -> None:
    assert balancer.get("/connections/").status_code == 400
