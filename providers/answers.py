"""Read what a provider answered, believing nothing: from an HTTP answer to a TokenAnswer or a typed error.

oauthlib's own reading takes tokens from a 500, raises `TypeError` on odd bodies and an error with the token
inside when the scope changed; it is not used.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl

import requests

from providers import quirks
from providers.errors import BadAnswer, ProviderRefused, ProviderUnavailable
from providers.scopes import in_asked_words
from providers.validation import SCOPE
from providers.wire import RegisteredClient

MAX_TOKEN_LENGTH = 32 * 1024
MAX_LIFETIME_SECONDS = 10 * 365 * 86_400.0
MAX_RETRY_AFTER_SECONDS = 86_400.0
# Narrower than RFC 6749 §A.12, which allows spaces: this one travels in a header (RFC 6750 §2.1).
_ACCESS_TOKEN = re.compile(r"[\x21-\x7e]+")
_REFRESH_TOKEN = re.compile(r"[\x20-\x7e]+")
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)
# What a code looks like. Anything else could be a body's text, or a token that is echoed back.
_ERROR_CODE = re.compile(r"[a-z]+(_[a-z]+){0,5}")
_FORM = re.compile(r"[\w.-]+=[^\s<>{}]*")
SLOW_DOWN = "slow_down"
# Said with a 200 or a 400 by some, meaning: not now.
_NOT_NOW = {
    "temporarily_unavailable": "temporarily_unavailable",
    "server_error": "server_error",
    SLOW_DOWN: SLOW_DOWN,
    "rate_limited": "rate_limited",
    "ratelimited": "rate_limited",
}


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A checked token response (RFC 6749 §5.1). Lifetimes are seconds; None means that nothing was said."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: float | None
    refresh_token_expires_in: float | None
    scopes: list[str] | None
    id_token: str | None = field(repr=False)


def token_answer(
    client: RegisteredClient,
    response: requests.Response,
    *,
    asked: Sequence[str] = (),
    has_refresh_token: bool = False,
) -> TokenAnswer:
    """Check a token response; raise ProviderRefused, ProviderUnavailable or BadAnswer.

    The granted scopes come in the words of `asked`; `has_refresh_token`: there is one already. A missing `token_type`
    is taken as bearer, since providers forget it; any other type is refused, as we could not use the token (RFC 6749
    §7.1).
    """
    answer = quirks.unnested(read_object(client, response), client.quirks)
    name = client.provider_name
    if str(answer.get("token_type") or "bearer").lower() != "bearer":
        raise BadAnswer(name, "token_type")
    access_token = _token(name, answer, "access_token", _ACCESS_TOKEN)
    if access_token is None:
        raise BadAnswer(name, "no_access_token")
    refresh_token = _token(name, answer, "refresh_token", _REFRESH_TOKEN)
    granted = scopes_of(answer.get("scope"), client.scope_delimiter)
    if granted is not None:
        has_refresh_token = has_refresh_token or refresh_token is not None
        granted = in_asked_words(granted, asked=asked, has_refresh_token=has_refresh_token, quirks=client.quirks)
    return TokenAnswer(
        access_token=access_token,
        refresh_token=refresh_token,
        expires_in=lifetime(answer.get("expires_in")),
        # GitHub and Google, and Keycloak.
        refresh_token_expires_in=lifetime(answer.get("refresh_token_expires_in", answer.get("refresh_expires_in"))),
        scopes=granted,
        id_token=_token(name, answer, "id_token", _ACCESS_TOKEN, is_strict=False),
    )


def read_object(client: RegisteredClient, response: requests.Response) -> dict[str, Any]:
    """Return the fields of a successful answer, JSON or form; raise what the status or `error` says."""
    check_status(client, response)
    answer = _parsed(client.provider_name, response)
    _refuse_error(client, response, answer)
    return answer


def check_status(client: RegisteredClient, response: requests.Response) -> None:
    """Raise unless the status is a 2xx, whatever the body looks like."""
    name, status = client.provider_name, response.status_code
    if 200 <= status < 300:
        return
    if status == 429:
        raise ProviderUnavailable(name, "rate_limited", _wait(response))
    if status == 408 or status >= 500:
        raise ProviderUnavailable(name, f"status_{status}", _wait(response))
    try:
        answer = _parsed(name, response)
    except BadAnswer:
        answer = {}
    _refuse_error(client, response, answer)
    raise BadAnswer(name, f"status_{status}")


def lifetime(value: object) -> float | None:
    """Return seconds; None for what is no positive number, and at most ten years."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # Compared before it becomes a float, which an integer of 400 digits cannot.
    if not value > 0 or value == math.inf:
        return None
    return float(min(value, MAX_LIFETIME_SECONDS))


def refresh_token_shaped(value: object) -> str | None:
    """Return a text that fits in a token request; None for anything else."""
    fits = isinstance(value, str) and len(value) <= MAX_TOKEN_LENGTH and _REFRESH_TOKEN.fullmatch(value)
    return str(value) if fits else None


def scopes_of(value: object, delimiter: str) -> list[str] | None:
    """Split a `scope`, separated as the provider says or by spaces or commas; None when it says nothing.

    An empty one says nothing: GitHub's apps send it always, and nobody grants nothing (RFC 6749 §3.3).
    """
    if isinstance(value, list):
        parts = [part for part in value if isinstance(part, str)]
    elif isinstance(value, str):
        parts = re.split(rf"[\s,]|{re.escape(delimiter or ' ')}", value)
    else:
        return None
    return list(dict.fromkeys(part for part in parts if SCOPE.match(part))) or None


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Read Retry-After, seconds or a date (RFC 9110 §10.2.3); at most a day, None when unreadable."""
    value = (value or "").strip()
    if _NUMBER.fullmatch(value):
        seconds = float(value)
    else:
        try:
            moment = parsedate_to_datetime(value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _wait(response: requests.Response) -> float | None:
    return retry_after_seconds(response.headers.get("Retry-After"), now=datetime.now(UTC))


def _refuse_error(client: RegisteredClient, response: requests.Response, answer: dict[str, Any]) -> None:
    """Raise what the answer says went wrong, if it says so."""
    error = quirks.error_in(answer, client.quirks)
    if error is None:
        return
    if isinstance(error, dict):
        error = error.get("code") or error.get("type")
    code = (
        error if isinstance(error, str) and len(error) <= 64 and _ERROR_CODE.fullmatch(error) else quirks.UNRECOGNISED
    )
    if code in _NOT_NOW:
        raise ProviderUnavailable(client.provider_name, _NOT_NOW[code], _wait(response))
    raise ProviderRefused(client.provider_name, code)


def _parsed(provider_name: str, response: requests.Response) -> dict[str, Any]:
    text, why = "", "not_json"
    try:
        text = response.content.decode("utf-8-sig").strip()
        parsed = json.loads(text)
    except UnicodeDecodeError:
        why = "not_utf8"
    except (ValueError, RecursionError):
        if _FORM.fullmatch(text):
            return dict(parse_qsl(text, keep_blank_values=True))
    else:
        if isinstance(parsed, dict):
            return parsed
        why = "not_an_object"
    # Raised out here: the parser's own error holds the body.
    raise BadAnswer(provider_name, why)


def _token(
    provider_name: str, answer: dict[str, Any], key: str, shape: re.Pattern[str], *, is_strict: bool = True
) -> str | None:
    """Return a token that fits its shape, or None when there is none or, unless strict, it does not fit."""
    value = answer.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) <= MAX_TOKEN_LENGTH and shape.fullmatch(value):
        return value
    if is_strict:
        raise BadAnswer(provider_name, key)
    return None
