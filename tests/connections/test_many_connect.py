"""64 people connect in the same moment: everybody succeeds, and nobody sees a word of anybody else (I05)."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from django.db import connection
from django.test import Client

from tests import factories
from tests.connections.consenting import come_back, leave, offer_path
from vault.models import VaultEntry
from vault.sealing import open_sealed

USERS = 64


def marker(number: int) -> str:
    """Return what stands for one person, at the provider and on every page."""
    return f"marker-{number:02}-end"


class Provider(BaseHTTPRequestHandler):
    """Gives a token that is made of the code, and an account that is made of the token."""

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        code = body["code"][0]
        self._answer({"access_token": f"access-{code}", "refresh_token": f"refresh-{code}", "expires_in": 3600})

    def do_GET(self) -> None:
        self._answer({"email": f"{self.headers['Authorization'].split()[-1]}@example.com"})

    def _answer(self, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Crowded(ThreadingHTTPServer):
    """A server before which 64 may wait."""

    request_queue_size = 128
    daemon_threads = True


@contextmanager
def provider() -> Iterator[str]:
    """Serve on loopback."""
    server = Crowded(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tab(user: object) -> Client:
    """Return a browser that is signed in."""
    client = Client(headers={"host": "gateway.test"}, SERVER_NAME="gateway.test", **{"wsgi.url_scheme": "https"})
    client.force_login(user)  # type: ignore[arg-type]
    return client


@pytest.mark.threat("I05")
@pytest.mark.django_db(transaction=True)
def test_64_users_connect_at_once_and_each_sees_only_their_own() -> None:
    users = [factories.make_user(f"user-{number:02}") for number in range(USERS)]
    with provider() as base:
        github = factories.make_provider("github", base=base, userinfo_endpoint=f"{base}/userinfo")
        tabs = [tab(user) for user in users]
        states = [leave(each, offer_path(user, github))["state"] for each, user in zip(tabs, users, strict=True)]
        start, seen = threading.Barrier(USERS), dict[int, str]()

        def connect(number: int) -> None:
            start.wait()
            try:
                mine = tabs[number]
                answer = come_back(mine, "github", code=marker(number), state=states[number])
                pages = [answer["Location"], "/connections/", "/api/v1/connections/"]
                seen[number] = "".join(mine.get(page).content.decode() for page in pages)
            finally:
                connection.close()

        threads = [threading.Thread(target=connect, args=(number,)) for number in range(USERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {number: set(re.findall(r"marker-\d\d-end", text)) for number, text in seen.items()} == {
        number: {marker(number)} for number in range(USERS)
    }
    for number, user in enumerate(users):
        entry = VaultEntry.objects.get(user_id=user.pk)
        assert entry.account == f"access-{marker(number)}@example.com"
        assert open_sealed(entry, "access_token") == f"access-{marker(number)}"
        assert open_sealed(entry, "refresh_token") == f"refresh-{marker(number)}"
