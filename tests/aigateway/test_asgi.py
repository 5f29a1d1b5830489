"""The ASGI application: who answers which path, and what a web process does at its start and stop."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from aigateway import asgi, lifespan
from clients import activity
from clients.models import ApiToken
from tests import factories


class Process:
    """A web server's side of the lifespan protocol."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answered = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        """Keep what the application says."""
        self.sent.append(message)
        self.answered.set()

    async def live(self) -> None:
        """Start the application and, if it started, stop it again."""
        self.asked.put_nowait({"type": "lifespan.startup"})
        task = asyncio.create_task(asgi.application({"type": "lifespan"}, self.asked.get, self.send))
        await asyncio.wait_for(self.answered.wait(), timeout=30)
        self.asked.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait_for(task, timeout=30)


@pytest.mark.django_db(transaction=True)
async def test_a_process_starts_and_stops() -> None:
    process = Process()
    await process.live()
    assert [message["type"] for message in process.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.threat("G10")
@pytest.mark.django_db(transaction=True)
async def test_a_process_with_an_unsafe_setting_does_not_start(settings: Settings) -> None:
    settings.AIGW_TRUSTED_PROXIES = ["0.0.0.0/0"]
    process = Process()
    await process.live()
    (message,) = process.sent
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"].startswith("refusing to start: (aigateway.E006) AIGW_TRUSTED_PROXIES")


@pytest.mark.threat("C04")
@pytest.mark.django_db(transaction=True)
async def test_a_process_with_other_keys_does_not_start(settings: Settings) -> None:
    await Process().live()
    settings.FERNET_KEYS = ["another-key-0123456789-0123456789-0123456789"]
    process = Process()
    await process.live()
    (message,) = process.sent
    assert message["type"] == "lifespan.startup.failed"
    assert "FERNET_KEYS does not open this database's vault" in message["message"]


@pytest.mark.django_db(transaction=True)
def test_what_was_used_is_written_at_a_clean_stop(alice: User) -> None:
    factories.make_api_token(alice)
    token = ApiToken.objects.get()
    flusher = lifespan.ActivityFlusher()
    flusher.start()
    activity.token_used(token.pk)
    flusher.stop()
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert timezone.now() - token.last_used_at < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("path", "answering"),
    [
        ("/mcp/v1/tools", asgi.IN_FRONT["/mcp/v1/"]),
        ("/static/favicon.svg", asgi.IN_FRONT["/static/"]),
        ("/mcp", asgi.django_application),
        ("/admin/", asgi.django_application),
        ("/", asgi.django_application),
    ],
)
def test_paths_are_answered_by(path: str, answering: object) -> None:
    assert asgi._answering(path) is answering


async def ask(path: str, host: str = "gateway.test", method: str = "GET") -> tuple[int, dict[str, str]]:
    """Send a request as it arrives behind a proxy that ended TLS; return status and headers."""
    sent: list[dict[str, Any]] = []
    never = asyncio.Event()
    bodies = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        event = next(bodies, None)
        if event is None:
            await never.wait()
        return event

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", host.encode())],
        "client": ("127.0.0.1", 1),
    }
    await asgi.application(scope, receive, send)
    start = sent[0]
    return start["status"], {key.decode().lower(): value.decode() for key, value in start["headers"]}


@pytest.mark.parametrize(("base_url", "is_told"), [("https://gateway.test", True), ("http://gateway.test", False)])
async def test_whether_the_gateway_is_on_https_comes_from_its_public_address(
    base_url: str, is_told: bool, settings: Settings
) -> None:
    settings.AIGW_BASE_URL = base_url
    status, headers = await ask("/api/v1/schema/")
    assert (status, "strict-transport-security" in headers) == (200, is_told)


@pytest.mark.threat("A13")
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("gateway.test", 401),
        ("GATEWAY.test", 401),
        ("gateway.test:443", 401),
        ("gateway.test:8443", 400),
        ("evil.example", 400),
        ("gateway.test.evil.example", 400),
        ("", 400),
    ],
)
@pytest.mark.django_db(transaction=True)
async def test_the_data_plane_answers_to_its_public_host_only(host: str, expected: int) -> None:
    status, _ = await ask("/mcp/v1/tools", host, "POST")
    assert status == expected
