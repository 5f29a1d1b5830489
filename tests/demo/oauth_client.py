"""A client of the demo's authorization server, as plain as the specifications, to test the server itself."""

import base64
import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from aigateway.demo.browser import Browser, LostError
from aigateway.demo.farside import SCOPES, FarSide
from tests.demo.conftest import REDIRECT_URI


class StoppingBrowser(Browser):
    """Stops at the redirect URI, where nobody listens, instead of going there."""

    def _send(self, method: str, url: str, values: Any) -> requests.Response:
        if url.startswith(REDIRECT_URI):
            raise LostError(url)
        return super()._send(method, url, values)


@dataclass
class Consent:
    """One authorization request and what came back to the redirect URI."""

    far_side: FarSide
    code_verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def url(self, **overrides: str) -> str:
        digest = hashlib.sha256(self.code_verifier.encode()).digest()
        parameters = {
            "response_type": "code",
            "client_id": self.far_side.registration.gateway.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": " ".join(SCOPES),
            "state": self.state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **overrides,
        }
        sent = {name: value for name, value in parameters.items() if value}
        return f"{self.far_side.issuer}/authorize?{urlencode(sent)}"

    def answer(self, username: str, button: str, **overrides: str) -> dict[str, str]:
        """Sign in, press a button if there is a consent page, and return the parameters at the redirect URI."""
        with StoppingBrowser() as browser:
            browser.open(self.url(**overrides))
            with suppress(LostError):
                browser.sign_in(username, self.far_side.passwords[username])
                browser.press(button)
            landed = browser.history[-1].location
        assert landed.startswith(REDIRECT_URI)
        return {name: values[0] for name, values in parse_qs(urlsplit(landed).query).items()}

    def exchange(self, code: str, **overrides: str) -> requests.Response:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": self.code_verifier,
        }
        return post(self.far_side, "token", {**fields, **overrides})


def post(far_side: FarSide, path: str, fields: dict[str, str]) -> requests.Response:
    """Send a form to an endpoint with the gateway's credentials."""
    client = far_side.registration.gateway
    return requests.post(
        f"{far_side.issuer}/{path}", data=fields, auth=(client.client_id, client.client_secret), timeout=10
    )


def tokens_of(far_side: FarSide, username: str) -> dict[str, Any]:
    """Go through consent and return the token response."""
    consent = Consent(far_side)
    response = consent.exchange(consent.answer(username, "Allow")["code"])
    assert response.status_code == 200
    tokens: dict[str, Any] = response.json()
    return tokens


def refresh(far_side: FarSide, refresh_token: str) -> requests.Response:
    return post(far_side, "token", {"grant_type": "refresh_token", "refresh_token": refresh_token})


def introspect(far_side: FarSide, token: str) -> dict[str, Any]:
    answer: dict[str, Any] = post(far_side, "introspect", {"token": token}).json()
    return answer
