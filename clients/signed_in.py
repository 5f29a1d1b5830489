"""Who is signed in by a session cookie, asked without Django's request cycle; and whether a request may use it.

It only reads: what a page's middleware would end, a session after a change of password say, is no session here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, load_backend
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.crypto import constant_time_compare

from clients.session_store import SessionStore

SAME_ORIGIN = "same-origin"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user, and when their session ends by itself."""

    user: User
    until: datetime


def by_session(session_key: str) -> SignedIn | None:
    """Return who is signed in; None when nobody is: no such session, expired, password changed, user inactive."""
    row = SessionStore(session_key).kept()
    user = _user(row.get_decoded()) if row else None
    return SignedIn(user, row.expire_date) if row and user else None


def _user(kept: Mapping[str, Any]) -> User | None:
    pk, backend = kept.get(SESSION_KEY), kept.get(BACKEND_SESSION_KEY)
    if pk is None or backend not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(backend).get_user(User._meta.pk.to_python(pk))
    if not isinstance(user, User) or not user.is_active:
        return None
    said = str(kept.get(HASH_SESSION_KEY, ""))
    return user if any(constant_time_compare(said, expected) for expected in _hashes(user)) else None


def _hashes(user: User) -> Iterator[str]:
    yield user.get_session_auth_hash()
    yield from user.get_session_auth_fallback_hash()


def is_forgery(cookies: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Tell whether a request fails Django's CSRF check, or was made by a page of another site.

    Whatever its method: a GET that opens a stream is checked as a POST is. Names of headers are lower case.
    """
    if headers.get("sec-fetch-site", SAME_ORIGIN) != SAME_ORIGIN:
        return True
    request = _Asked(cookies, headers)
    check = _Check(_never)
    check.process_request(request)
    return check.process_view(request, _never, (), {}) is not None


class _Asked(HttpRequest):
    """What the check looks at. The scheme is our public address's, never the request's."""

    def __init__(self, cookies: Mapping[str, str], headers: Mapping[str, str]) -> None:
        super().__init__()
        self.method = "POST"
        self.COOKIES = dict(cookies)
        self.META = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}

    def _get_scheme(self) -> str:
        return urlsplit(settings.AIGW_BASE_URL).scheme


class _Check(CsrfViewMiddleware):
    """Django's own, which answers with a page and a log line of its own otherwise."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        return HttpResponse(status=403)


def _never(request: HttpRequest) -> HttpResponse:
    raise NotImplementedError
