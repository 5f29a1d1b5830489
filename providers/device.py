"""The device authorization grant on the wire (RFC 8628 §3.1–3.5): ask for a code, then ask whether it was used.

When to ask again is the caller's business; `oauth2` re-exports all of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from outbound.errors import OutboundError
from outbound.urls import read_target
from providers import accounts, answers, wire
from providers.answers import TokenAnswer
from providers.errors import (
    AuthorizationPending,
    BadAnswer,
    OAuthError,
    ProviderRefused,
    ProviderUnavailable,
    SlowDown,
)
from providers.quirks import NO_SCOPE_PARAM
from providers.wire import RegisteredClient

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
DEFAULT_INTERVAL_SECONDS = 5
MAX_INTERVAL_SECONDS = 60
MAX_LIFETIME_SECONDS = 3600
MAX_USER_CODE_LENGTH = 64
MAX_URI_LENGTH = 2000
# RFC 8628 §3.5 has one word for each; Microsoft says the second for the first.
_SAME_AS = {"authorization_declined": "access_denied"}


@dataclass(frozen=True, slots=True)
class DeviceGrant:
    """What to show to the user, and how to go on (RFC 8628 §3.2). Durations are seconds.

    `verification_uri_complete` is empty when the provider sends none.
    """

    device_code: str = field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


def start(client: RegisteredClient, *, scopes: Sequence[str]) -> DeviceGrant:
    """Ask for a device code (RFC 8628 §3.1).

    Raises ProviderRefused, ProviderUnavailable or BadAnswer, whose `why` names what cannot be used.
    """
    if not client.device_authorization_endpoint:
        raise ProviderRefused(client.provider_name, "unsupported_grant_type")
    scope = "" if NO_SCOPE_PARAM in client.quirks else client.scope_delimiter.join(scopes)
    fields = {"scope": scope, "resource": client.resource}
    # Confidential clients need not send it, yet many providers ask for it whatever the authentication.
    if client.auth_method == "client_secret_basic":
        fields["client_id"] = client.client_id
    form = {name: value for name, value in fields.items() if value}
    answer = answers.read_object(client, wire.post(client, client.device_authorization_endpoint, form))
    return _grant(client.provider_name, answer)


def poll(client: RegisteredClient, *, device_code: str, asked: Sequence[str] = ()) -> TokenAnswer:
    """Ask once whether the user has answered (RFC 8628 §3.4); granted scopes come in the words of `asked`.

    Raises AuthorizationPending (ask again after the interval), SlowDown (after five seconds more from now on),
    ProviderRefused (`access_denied`, `expired_token`, ...: the end), ProviderUnavailable (ask again, later) and
    BadAnswer.
    """
    fields = {**client.token_params, "grant_type": GRANT_TYPE, "device_code": device_code}
    if client.resource:
        fields["resource"] = client.resource
    failure: OAuthError
    try:
        return answers.token_answer(client, wire.post(client, client.token_endpoint, fields), asked=asked)
    except ProviderRefused as refused:
        failure = _refusal(refused)
    except ProviderUnavailable as unavailable:
        failure = SlowDown(client.provider_name) if unavailable.why == answers.SLOW_DOWN else unavailable
    raise failure


def _refusal(refused: ProviderRefused) -> OAuthError:
    if refused.error == "authorization_pending":
        return AuthorizationPending(refused.provider_name)
    return ProviderRefused(refused.provider_name, _SAME_AS.get(refused.error, refused.error))


def _grant(provider_name: str, answer: dict[str, Any]) -> DeviceGrant:
    # Google's older name for it.
    uri = _uri(answer.get("verification_uri") or answer.get("verification_url"))
    device_code = answers.refresh_token_shaped(answer.get("device_code"))
    user_code = accounts.one_line(answer.get("user_code"))
    expires_in = answers.lifetime(answer.get("expires_in"))
    if device_code is None:
        raise BadAnswer(provider_name, "device_code")
    if not user_code or len(user_code) > MAX_USER_CODE_LENGTH:
        raise BadAnswer(provider_name, "user_code")
    if not uri:
        raise BadAnswer(provider_name, "verification_uri")
    if expires_in is None:
        raise BadAnswer(provider_name, "expires_in")
    interval = answers.lifetime(answer.get("interval")) or DEFAULT_INTERVAL_SECONDS
    return DeviceGrant(
        device_code=device_code,
        user_code=user_code,
        verification_uri=uri,
        verification_uri_complete=_uri(answer.get("verification_uri_complete")),
        expires_in=math.ceil(min(expires_in, MAX_LIFETIME_SECONDS)),
        interval=math.ceil(min(interval, MAX_INTERVAL_SECONDS)),
    )


def _uri(value: object) -> str:
    """Return an address that a user may be sent to; empty for anything else, `javascript:` above all (A12)."""
    if not isinstance(value, str) or len(value) > MAX_URI_LENGTH:
        return ""
    try:
        read_target(value)
    except OutboundError:
        return ""
    return value
