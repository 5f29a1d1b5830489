"""An authorization server's own description of itself: RFC 8414, and OpenID Connect Discovery where that is missing.

Fetched through the guard, JSON only, cut at one megabyte; no redirect is followed, not even one (RFC 8414 §3 needs
none, and a hop would be someone else's word). Nothing of it is used unless its issuer is the one that was asked,
letter for letter, and every address in it is one that may be used.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from outbound.errors import AnswerTooLarge, OutboundError, RedirectRefused
from outbound.sync import guarded_session
from outbound.urls import read_target

TIMEOUT_SECONDS = 10.0
MAX_BYTES = 1_000_000
MAX_NAMES = 1000
MAX_NAME_LENGTH = 500
ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
    "userinfo_endpoint",
)
LISTS = (
    "scopes_supported",
    "grant_types_supported",
    "token_endpoint_auth_methods_supported",
    "code_challenge_methods_supported",
)


class MetadataError(Exception):
    """There is no metadata that can be used; the message is a sentence to show."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What RFC 8414 §2 calls it, letter for letter. An endpoint that is not there is empty, a list is None."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str
    device_authorization_endpoint: str
    userinfo_endpoint: str
    scopes_supported: tuple[str, ...] | None
    grant_types_supported: tuple[str, ...] | None
    token_endpoint_auth_methods_supported: tuple[str, ...] | None
    code_challenge_methods_supported: tuple[str, ...] | None
    authorization_response_iss_parameter_supported: bool


def fetch(issuer: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Metadata:
    """Fetch and judge the metadata of an issuer. Raises MetadataError."""
    for url in well_known_urls(issuer):
        document = _document(url, timeout_seconds)
        if document is not None:
            return _judged(issuer, document)
    raise MetadataError("The issuer publishes no metadata (RFC 8414) and no OpenID Connect discovery document.")


def well_known_urls(issuer: str) -> list[str]:
    """Return where an issuer's metadata may lie: RFC 8414 §3.1 puts the path last, OpenID Connect first."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    oauth = parts._replace(path=f"/.well-known/oauth-authorization-server{path}", query="").geturl()
    openid = parts._replace(path=f"{path}/.well-known/openid-configuration", query="").geturl()
    return [oauth, openid]


def _document(url: str, timeout_seconds: float) -> dict[str, Any] | None:
    """Return the document at an address, or None when there is none: any status but 200, or no JSON object."""
    failure: str
    try:
        with guarded_session(total_timeout_seconds=timeout_seconds, max_answer_bytes=MAX_BYTES) as session:
            response = session.get(url, headers={"Accept": "application/json"}, allow_redirects=False)
    except RedirectRefused:
        return None
    except AnswerTooLarge:
        failure = "The issuer's metadata is larger than one megabyte, so it was not read."
    except OutboundError as error:
        failure = f"The issuer's metadata could not be fetched. {error}"
    except requests.RequestException:
        failure = "The issuer's metadata could not be fetched."
    else:
        return _parsed(response.content) if response.status_code == 200 else None
    raise MetadataError(failure)


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _judged(issuer: str, document: dict[str, Any]) -> Metadata:
    """Believe a document that is the issuer's own (RFC 8414 §3.3) and sends nobody anywhere odd (A12)."""
    said = document.get("issuer")
    if said != issuer:
        shown = f" It says {said[:200]!a}." if isinstance(said, str) else ""
        raise MetadataError(f"The metadata is of another issuer than the one given, so it was not used.{shown}")
    for name in ENDPOINTS:
        if document.get(name):
            _judge_endpoint(name, document[name])
    iss = document.get("authorization_response_iss_parameter_supported")
    fields: dict[str, Any] = {name: document.get(name) or "" for name in ENDPOINTS}
    fields |= {name: _names(document.get(name)) for name in LISTS}
    return Metadata(issuer=issuer, authorization_response_iss_parameter_supported=iss is True, **fields)


def _judge_endpoint(name: str, url: object) -> None:
    try:
        read_target(url if isinstance(url, str) else "")
    except OutboundError:
        raise MetadataError(f"The metadata's {name} is not an https address, so none of it was used.") from None


def _names(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(_short(value[:MAX_NAMES]))


def _short(values: Iterable[object]) -> Iterable[str]:
    return (value for value in values if isinstance(value, str) and len(value) <= MAX_NAME_LENGTH)
