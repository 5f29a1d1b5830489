"""One person with a browser, one provider on loopback that says what a test wants, and the steps of a consent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.contrib.auth.models import User
from django.test import Client

from connections import consent
from providers.models import OAuthProvider

ACCESS_TOKEN = "canary-access-token"
REFRESH_TOKEN = "canary-refresh-token"
CODE = "canary-code"


class FakeProvider:
    """What the far side answers, and what it was sent. `account` None: its userinfo endpoint fails."""

    def __init__(self) -> None:
        self.base = ""
        self.status = 200
        self.tokens: dict[str, Any] = {
            "access_token": ACCESS_TOKEN,
            "refresh_token": REFRESH_TOKEN,
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        self.account: str | None = "maria@example.com"
        self.token_requests: list[dict[str, str]] = []
        self.on_token_request: Any = None


@contextmanager
def fake_provider() -> Iterator[FakeProvider]:
    """Serve a token endpoint and a userinfo endpoint on loopback."""
    fake = FakeProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            fake.token_requests.append({name: values[0] for name, values in parse_qs(body).items()})
            if fake.on_token_request:
                fake.on_token_request()
            self._answer(fake.status, fake.tokens)

        def do_GET(self) -> None:
            self._answer(500 if fake.account is None else 200, {"email": fake.account})

        def _answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.base = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def offer_path(user: User, provider: OAuthProvider, scopes: list[str] | None = None, server_name: str = "") -> str:
    """Return the path and query of a link made for `user`."""
    url = consent.offer_url(
        user_id=user.pk,
        provider=provider,
        scopes=provider.scopes if scopes is None else scopes,
        server_name=server_name,
    )
    return url.removeprefix("https://gateway.test")


def press_connect(browser: Client, path: str) -> Any:
    """Open the page and press its button."""
    page = browser.get(path)
    assert page.status_code == 200, page.content
    return browser.post(path, {"csrfmiddlewaretoken": page.context["csrf_token"]})


def leave(browser: Client, path: str) -> dict[str, str]:
    """Go through the page and return the parameters that the provider gets."""
    answer = press_connect(browser, path)
    assert answer.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(answer["Location"]).query).items()}


def come_back(browser: Client, name: str, **query: str) -> Any:
    """Arrive at the provider's callback."""
    return browser.get(f"/oauth/v1/callback/{name}", query)


def connect(browser: Client, path: str, name: str = "github", **query: str) -> Any:
    """Do the whole trip and return the answer of the callback."""
    state = leave(browser, path)["state"]
    return come_back(browser, name, code=CODE, state=state, **query)
