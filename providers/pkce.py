"""Whether a consent is protected by PKCE, S256 or nothing (RFC 7636): always, but for providers that break on it."""

from oauthlib.oauth2 import WebApplicationClient

from providers.errors import OAuthError
from providers.quirks import PKCE_OFF
from providers.wire import RegisteredClient

METHOD = "S256"
CODE_VERIFIER_LENGTH = 64


class PKCERefused(OAuthError):
    """A consent at this provider could not be protected as it must be; `sentence` says why, for a page."""

    def __init__(self, provider_name: str, why: str, sentence: str) -> None:
        super().__init__(provider_name, why)
        self.sentence = sentence

    def __str__(self) -> str:
        return f"{self.provider_name} cannot be connected: {self.why}"


def new_code_verifier() -> str:
    """Make a fresh PKCE verifier (RFC 7636 §4.1)."""
    return str(WebApplicationClient("").create_code_verifier(CODE_VERIFIER_LENGTH))


def code_verifier_for(client: RegisteredClient) -> str | None:
    """Make a verifier for a consent at this provider; None where its preset says that it breaks on PKCE.

    Raises PKCERefused where PKCE is a must and cannot be had, or only in its `plain` form (RFC 9700 §2.1.1).
    """
    if PKCE_OFF in client.quirks:
        if client.require_pkce or client.auth_method == "none":
            sentence = "It breaks on PKCE, and without PKCE it may not be connected here."
            raise PKCERefused(client.provider_name, "pkce_off", sentence)
        return None
    methods = client.code_challenge_methods
    if methods and METHOD not in methods:
        sentence = "It offers PKCE only in a form that protects nothing (plain), not S256."
        raise PKCERefused(client.provider_name, "pkce_plain_only", sentence)
    if methods == () and client.require_pkce:
        sentence = "It does not say that it supports PKCE with S256, and without that it may not be connected here."
        raise PKCERefused(client.provider_name, "pkce_not_offered", sentence)
    return new_code_verifier()
