"""A browser small enough to read: real HTTP, a cookie jar, forms and buttons found by what a person sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urljoin, urlsplit

import requests

from aigateway.demo.pages import Button, Document, Form, find_by_label

TIMEOUT_SECONDS = 40
MAX_REDIRECTS = 20
REDIRECTS = (301, 302, 303, 307, 308)


class LostError(Exception):
    """What the walk looked for is not on the page; the message says what is there instead."""


@dataclass(frozen=True)
class Hop:
    """One request that the browser made, and where the answer sent it."""

    method: str
    url: str
    status: int
    location: str

    def __repr__(self) -> str:
        """Leave the query out: it may hold a code or a state."""
        return f"{self.method} {self.url.partition('?')[0]} {self.status}"

    __str__ = __repr__


@dataclass(frozen=True)
class Page:
    """Where the browser is, after every redirect."""

    url: str
    status: int
    document: Document

    def __repr__(self) -> str:
        """Describe the page for an error message, without query or form values."""
        buttons = [button.label for form in self.document.forms for button in form.buttons]
        return f"{self.url.partition('?')[0]} ({self.status}) {self.document.title!r}, buttons {buttons}"

    @property
    def text(self) -> str:
        """The words on the page."""
        return self.document.text


class Browser:
    """One person's browser: own cookies, one page at a time, every hop remembered in `history`."""

    def __init__(self, ca_bundle: Path | None = None) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.verify = str(ca_bundle) if ca_bundle else True
        self._page: Page | None = None
        self.history: list[Hop] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    @property
    def page(self) -> Page:
        """The page that is open now."""
        if self._page is None:
            raise LostError("no page is open")
        return self._page

    def cookie_names(self) -> set[str]:
        """Name the cookies that the browser holds."""
        return {cookie.name for cookie in self._http.cookies}

    def open(self, url: str) -> Page:
        """Go to an address and follow where it leads."""
        return self._follow("GET", url, {})

    def click(self, label: str) -> Page:
        """Follow the link that reads `label`, or begins with it.

        Raises LostError unless there is exactly one.
        """
        found = find_by_label(self.page.document.links, label, lambda link: link.label)
        # The same address may be linked twice, in a menu and in the text.
        addresses = {link.href for link in found}
        if len(addresses) != 1:
            raise LostError(f"{len(addresses)} links read {label!r} on {self.page!r}")
        return self.open(urljoin(self.page.url, addresses.pop()))

    def press(self, label: str, typed: Mapping[str, str] | None = None) -> Page:
        """Press the button that reads `label`, or begins with it, and send its form with what was `typed`.

        Raises LostError unless there is exactly one.
        """
        buttons = [(form, button) for form in self.page.document.forms for button in form.buttons]
        found = find_by_label(buttons, label, lambda pair: pair[1].label)
        if len(found) != 1:
            raise LostError(f"{len(found)} buttons read {label!r} on {self.page!r}")
        return self._submit(*found[0], typed or {})

    def sign_in(self, username: str, password: str) -> Page:
        """Fill in the one form that asks for a password and send it.

        Raises LostError when the page has no such form. A refused sign-in is a page like any other.
        """
        forms = [form for form in self.page.document.forms if form.password_field and form.username_field]
        if len(forms) != 1 or not forms[0].buttons:
            raise LostError(f"{len(forms)} sign-in forms on {self.page!r}")
        form = forms[0]
        return self._submit(form, form.buttons[0], {form.username_field: username, form.password_field: password})

    def asks_to_sign_in(self) -> bool:
        """Tell whether the open page has a form that asks for a password."""
        return any(form.password_field for form in self.page.document.forms)

    def _submit(self, form: Form, button: Button, typed: Mapping[str, str]) -> Page:
        values = form.filled(typed)
        if button.name:
            values[button.name] = button.value
        return self._follow(form.method, urljoin(self.page.url, form.action), values)

    def _follow(self, method: str, url: str, values: Mapping[str, str]) -> Page:
        for _ in range(MAX_REDIRECTS):
            response = self._send(method, url, values)
            if response.status_code not in REDIRECTS or "Location" not in response.headers:
                self._page = Page(url, response.status_code, Document(response.text))
                return self._page
            url = urljoin(url, response.headers["Location"])
            if response.status_code not in (307, 308):
                method, values = "GET", {}
        raise LostError(f"more than {MAX_REDIRECTS} redirects, the last to {url.partition('?')[0]}")

    def _send(self, method: str, url: str, values: Mapping[str, str]) -> requests.Response:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise LostError(f"will not go to an address of scheme {parts.scheme!r}")
        posts = method == "POST"
        response = self._http.request(
            method,
            url,
            params=None if posts else values,
            data=values if posts else None,
            # A page's own form, as a real browser marks it.
            headers={"Accept": "text/html", **({"Origin": f"{parts.scheme}://{parts.netloc}"} if posts else {})},
            allow_redirects=False,
            timeout=TIMEOUT_SECONDS,
        )
        location = response.headers.get("Location", "")
        self.history.append(Hop(method, url, response.status_code, location))
        return response
