"""What the tests of admin pages share: signing in, addresses, and a form as a browser would send it back."""

from html.parser import HTMLParser
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse


def signed_in(user: User) -> Client:
    """Return a browser that is signed in; CSRF is tried on its own."""
    client = Client(headers={"host": "gateway.test"}, SERVER_NAME="gateway.test", **{"wsgi.url_scheme": "https"})
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def page(target: type[Model] | Model, what: str = "changelist") -> str:
    """Return the address of a list, or of an object's page."""
    name = f"admin:{target._meta.app_label}_{target._meta.model_name}_{what}"
    return reverse(name) if isinstance(target, type) else reverse(name, args=[target.pk])


def queries_of(client: Client, url: str) -> int:
    """Return how many queries the page takes."""
    with CaptureQueriesContext(connection) as caught:
        assert client.get(url).status_code == 200
    return len(caught)


def filled(client: Client, url: str, **changes: Any) -> dict[str, Any]:
    """Return what the form at `url` would send, with `changes`; None leaves a field out."""
    parser = _Form()
    parser.feed(client.get(url).content.decode())
    return {name: value for name, value in {**parser.values, **changes}.items() if value is not None}


class _Form(HTMLParser):
    """Collects what the fields of a page hold."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}
        self._area = self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "select":
            self._select = name
        if tag == "option" and self._select and "selected" in given:
            self.values[self._select] = given.get("value") or ""
        if tag == "textarea":
            self._area, self.values[name] = name, ""
        if tag == "input" and name and given.get("type") not in {"submit", "button"}:
            self._input(name, given)

    def _input(self, name: str, given: dict[str, str | None]) -> None:
        if given.get("type") in {"checkbox", "radio"}:
            if "checked" in given:
                self.values.setdefault(name, []).append(given.get("value") or "on")
        else:
            self.values[name] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.values[self._area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            # A browser drops the first line break of a text area.
            self.values[self._area] = self.values[self._area].removeprefix("\n").removeprefix("\r\n")
            self._area = ""
        if tag == "select":
            self._select = ""
