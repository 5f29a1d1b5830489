"""`/metrics`: who may read it, what it says, and that strangers cannot make it grow."""

import time
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db import OperationalError
from django.http import QueryDict
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from connections import consent
from connections.refusals import ConsentRefused
from mcpservers.dataplane.app import application
from metrics import catalog, exposition, readings
from metrics.instruments import registered
from metrics.readings import Reading
from tests import factories

FAR = {"REMOTE_ADDR": "203.0.113.9"}


def scrape(**extra: Any) -> Any:
    headers = extra.pop("headers", {})
    return Client(headers={"host": "10.1.2.3", **headers}).get("/metrics", **extra)


def samples(answer: Any) -> dict[tuple[str, str], float]:
    found = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            found[sample.name, ",".join(sample.labels.values())] = sample.value
    return found


def bearer(user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {factories.make_api_token(user)}"}


def test_from_this_machine_it_is_open(db: None) -> None:
    catalog.refreshes.count("renewed", by=2)
    catalog.refresh_seconds.observe(0.3)
    answer = scrape()
    assert answer.status_code == 200
    found = samples(answer)
    assert found["aigw_refreshes_total", "renewed"] == 2
    assert found["aigw_refreshes_total", "rejected"] == 0, "a series is there before its first event"
    assert (found["aigw_refresh_seconds_bucket", "0.25"], found["aigw_refresh_seconds_bucket", "0.5"]) == (0, 1)
    assert (found["aigw_refresh_seconds_count", ""], found["aigw_refresh_seconds_sum", ""]) == (1, 0.3)
    assert found["aigw_database_up", ""] == 1


@pytest.mark.threat("H06", "F08")
@pytest.mark.parametrize(
    "header", [{"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}]
)
def test_through_a_proxy_that_nobody_named_it_is_closed(db: None, header: dict[str, str]) -> None:
    assert scrape(headers=header).status_code == 401


def test_through_a_trusted_proxy_the_callers_address_counts(db: None, settings: Any) -> None:
    settings.AIGW_TRUSTED_PROXIES = ["127.0.0.1"]
    settings.AIGW_METRICS_ALLOW = ["10.9.0.0/16"]
    assert scrape(headers={"X-Forwarded-For": "10.9.0.4"}).status_code == 200
    assert scrape(headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401
    assert scrape().status_code == 401, "loopback is not in the list any more"


def test_from_elsewhere_it_takes_the_token_of_an_admin(alice: User, admin: User, superuser: User) -> None:
    refused = scrape(**FAR)
    assert (refused.status_code, refused["WWW-Authenticate"]) == (401, "Bearer")
    assert b"aigw_" not in refused.content
    assert scrape(**FAR, headers={"Authorization": "Bearer aigw_wrong"}).status_code == 401
    assert scrape(**FAR, headers=bearer(alice)).status_code == 403
    assert scrape(**FAR, headers=bearer(admin)).status_code == 200
    assert scrape(**FAR, headers=bearer(superuser)).status_code == 200


def test_guessing_is_throttled(db: None, settings: Any) -> None:
    settings.AIGW_FAILED_TOKENS_PER_MINUTE = 3
    answers = [scrape(**FAR, headers={"Authorization": "Bearer aigw_wrong"}).status_code for _ in range(4)]
    assert answers == [401, 401, 401, 429]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the database is asked, in place of what the floors registered."""
    sources: list[Any] = []
    monkeypatch.setattr(readings, "_sources", sources)
    return sources


def test_without_a_database_the_counters_are_served(source: list[Any]) -> None:
    def fail() -> list[Reading]:
        raise OperationalError("down")

    source.append(fail)
    catalog.refreshes.count("renewed")
    found = samples(scrape())
    assert found["aigw_database_up", ""] == 0
    assert found["aigw_refreshes_total", "renewed"] == 1
    assert not [name for name, _ in found if name.startswith("aigw_vault_")]


def test_a_silent_database_does_not_hold_a_scrape(source: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hang() -> list[Reading]:
        asked.append(1)
        time.sleep(0.6)
        return [Reading("aigw_vault_entries", "Connections.", {"connected": 5}, "status")]

    source.append(hang)
    monkeypatch.setattr(readings, "PATIENCE_SECONDS", 0.1)
    for _ in range(3):
        begun = time.monotonic()
        assert samples(scrape())["aigw_database_up", ""] == 0
        assert time.monotonic() - begun < 0.5
    assert len(asked) == 1, "one question at a time"
    time.sleep(0.7)
    found = samples(scrape())
    assert (found["aigw_database_up", ""], found["aigw_vault_entries", "connected"]) == (1, 5)


def test_two_scrapes_within_seconds_ask_the_database_once(source: list[Any]) -> None:
    asked = []
    source.append(lambda: asked.append(1) or [])
    scrape()
    scrape()
    assert len(asked) == 1
    exposition.reader.forget()
    scrape()
    assert len(asked) == 2


@pytest.mark.threat("H06")
def test_ten_thousand_random_slugs_at_the_callback_make_no_series(db: None, source: list[Any]) -> None:
    before = samples(scrape())
    for number in range(10_000):
        answer = QueryDict(f"state=s{number}&code=c")
        with pytest.raises(ConsentRefused):
            consent.finish(AnonymousUser(), SessionStore(), answer, f"slug-{number}")
    after = samples(scrape())
    assert after.keys() == before.keys()
    assert after["aigw_consents_total", "refused"] == 10_000


@pytest.mark.threat("H06")
async def test_ten_thousand_random_slugs_at_the_data_plane_make_no_series() -> None:
    before = {name: each.snapshot().keys() for name, each in registered.items()}
    for number in range(10_000):
        scope = {"type": "http", "method": "POST", "path": f"/mcp/v1/slug-{number}", "query_string": b""}
        scope["headers"] = [(b"host", b"gateway.test"), (b"content-type", b"application/json")]
        assert await status_of(scope) == 401
    assert {name: each.snapshot().keys() for name, each in registered.items()} == before


async def status_of(scope: dict[str, Any]) -> int:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application({**scope, "client": ("127.0.0.1", 1), "scheme": "https"}, receive, send)
    return int(sent[0]["status"])
