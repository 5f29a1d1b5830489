"""One request to a provider: through the outbound guard, with the client's authentication, and silent.

Built on requests-oauthlib's session and oauthlib's requests, without the parts that do harm. Its
`fetch_token`, `refresh_token` and `request` log codes, tokens and secrets at DEBUG, know no time limit,
follow a 307 with the secret in the body, send an empty secret for public clients and Basic without the
encoding of RFC 6749 §2.3.1, and refuse loopback over http unless a variable switches the check off for the
whole process. So the session lives on the guard's adapter, which judges the scheme and the address itself,
and `request` hands what requests has prepared to that adapter. What the answer means is for `answers` to say.
"""

import json
import logging
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

import requests
from django.conf import settings
from oauthlib.oauth2 import WebApplicationClient
from requests_oauthlib import OAuth2Session

from outbound import errors as outbound_errors
from outbound.sync import Limits, guard
from outbound.urls import read_target
from providers.errors import BadAnswer, OAuthError, ProviderUnavailable
from providers.quirks import JSON_TOKEN_REQUEST

MAX_ANSWER_BYTES = 256 * 1024
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

# A second line of defence: whatever level someone sets, and on whichever logger, these stay silent.
# `dictConfig` resets levels and `disabled`, but leaves filters alone.
for _name in ("requests_oauthlib.oauth2_session", "oauthlib", "oauthlib.oauth2.rfc6749"):
    logging.getLogger(_name).addFilter(lambda _: False)


@dataclass(frozen=True, slots=True, repr=False)
class RegisteredClient:
    """Everything needed to talk to one provider as the client that is registered there.

    From its preset: how it departs from the RFCs (`quirks`), what its requests want in addition (`token_params`, on
    a refresh overridden by `refresh_params`) and the name of `scope` in an authorization request. From its metadata,
    as last seen: whether it promises `iss` (RFC 9207 §3), and its `code_challenge_methods`, None when not known.
    """

    provider_name: str
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str
    userinfo_endpoint: str
    issuer: str
    resource: str
    auth_method: str
    client_id: str
    client_secret: str
    scope_delimiter: str
    authorize_params: Mapping[str, str]
    redirect_uri: str
    account_claim: str
    device_authorization_endpoint: str = ""
    require_pkce: bool = False
    quirks: frozenset[str] = frozenset()
    scope_parameter: str = "scope"
    token_params: Mapping[str, str] = field(default_factory=dict)
    refresh_params: Mapping[str, str] = field(default_factory=dict)
    promises_iss: bool = False
    code_challenge_methods: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"RegisteredClient({self.provider_name!r})"


class WireSession(OAuth2Session):
    """An OAuth2Session behind the guard that adds no token of its own and logs nothing.

    `keeps_connection` is for one thread with many requests to make, one right after the other.
    """

    def __init__(self, *, keeps_connection: bool = False) -> None:
        super().__init__(client=WebApplicationClient(""))
        limits = Limits(
            total_timeout_seconds=settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS, max_answer_bytes=MAX_ANSWER_BYTES
        )
        guard(self, limits=limits, keeps_connection=keeps_connection)

    def request(  # type: ignore[override]
        self, method: str, url: str, *, data: bytes | None = None, headers: Mapping[str, str], **_: Any
    ) -> requests.Response:
        """Send one request and nothing after it; a URL that requests would quote in an error is refused before.

        Straight to the adapter: what a session does on the way (cookies, proxies, redirects, `.netrc`, hooks) is all
        switched off here, and to find that out took a third of a request's time.
        """
        read_target(url)
        prepared = requests.PreparedRequest()
        prepared.prepare(method, url, headers={**self.headers, **headers}, data=data)
        return self.get_adapter(url).send(prepared)


def post(
    client: RegisteredClient, url: str, fields: Mapping[str, str], session: WireSession | None = None
) -> requests.Response:
    """Send to one of the provider's endpoints, authenticated as the client (RFC 6749 §2.3).

    As a form, or as JSON to those who will have nothing else. Without a `session` the connection is for this alone.
    """
    headers, credentials = _authentication(client)
    everything = {**fields, **credentials}
    if JSON_TOKEN_REQUEST in client.quirks:
        kind, body = JSON, json.dumps(everything)
    else:
        kind, body = FORM, urlencode(everything)
    headers["Content-Type"] = kind
    if session is not None:
        return _send(client, session, "POST", url, data=body.encode(), headers=headers)
    with WireSession() as own:
        return _send(client, own, "POST", url, data=body.encode(), headers=headers)


def get_with_token(client: RegisteredClient, url: str, access_token: str) -> requests.Response:
    """Fetch a page that the access token opens (RFC 6750 §2.1)."""
    with WireSession() as session:
        return _send(client, session, "GET", url, headers={"Authorization": f"Bearer {access_token}"})


def _authentication(client: RegisteredClient) -> tuple[dict[str, str], dict[str, str]]:
    """Return the headers and form fields that say who we are."""
    if client.auth_method == "client_secret_basic":
        # RFC 6749 §2.3.1: each part is form-encoded first, so `:` and non-ASCII are safe in both.
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}, {}
    if client.auth_method == "client_secret_post":
        return {}, {"client_id": client.client_id, "client_secret": client.client_secret}
    if client.auth_method == "none":
        return {}, {"client_id": client.client_id}
    raise ValueError(f"unknown token_endpoint_auth_method of {client.provider_name}")


def _send(
    client: RegisteredClient,
    session: WireSession,
    method: str,
    url: str,
    *,
    headers: dict[str, str],
    data: bytes | None = None,
) -> requests.Response:
    failure: OAuthError
    try:
        return session.request(method, url, data=data, headers={"Accept": "application/json", **headers})
    except outbound_errors.OutboundError as error:
        failure = _failure(client.provider_name, error)
    except (requests.RequestException, ValueError):
        failure = ProviderUnavailable(client.provider_name, "network")
    # Raised out here so that the library's error, which carries the request, is not attached as context.
    raise failure


def _failure(provider_name: str, error: outbound_errors.OutboundError) -> OAuthError:
    if isinstance(error, outbound_errors.TimedOut):
        return ProviderUnavailable(provider_name, "timeout")
    if isinstance(error, outbound_errors.ConnectFailed) and not isinstance(error, outbound_errors.TLSFailed):
        return ProviderUnavailable(provider_name, "network")
    if isinstance(error, outbound_errors.RedirectRefused):
        return BadAnswer(provider_name, "redirect")
    if isinstance(error, outbound_errors.AnswerTooLarge):
        return BadAnswer(provider_name, "too_large")
    return ProviderUnavailable(provider_name, error.code)
