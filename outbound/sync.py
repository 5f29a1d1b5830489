"""Guarded requests sessions: one connection per request, to a judged address.

For token endpoints and the like: small answers, a hard limit on the whole time.
`guard` equips any `requests.Session`, so also an `OAuth2Session`. Who asks the same
server many times in a row may have the connection kept (`pools`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3.connectionpool import HTTPConnectionPool

from outbound.addresses import Policy, current_policy
from outbound.errors import AnswerTooLarge, RedirectRefused, as_outbound_error, is_redirect
from outbound.pools import (
    CONNECT_TIMEOUT_SECONDS,
    MAX_ANSWER_BYTES,
    TOTAL_TIMEOUT_SECONDS,
    Limits,
    Origin,
    Pool,
    pool_for,
)
from outbound.tls import ssl_context
from outbound.urls import read_target

__all__ = ["Limits", "OutboundAdapter", "guard", "guarded_session"]

SessionT = TypeVar("SessionT", bound=requests.Session)


def guarded_session(
    *,
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    total_timeout_seconds: float = TOTAL_TIMEOUT_SECONDS,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
    policy: Policy | None = None,
    ca_bundle: str | None = None,
    keeps_connection: bool = False,
) -> requests.Session:
    """Make a session that raises OutboundError and nothing of requests' own.

    `policy` and `ca_bundle` stand in for the settings; `keeps_connection`: see `guard`.
    """
    limits = Limits(connect_timeout_seconds, total_timeout_seconds, max_answer_bytes)
    return guard(_Session(), limits=limits, policy=policy, ca_bundle=ca_bundle, keeps_connection=keeps_connection)


def guard(
    session: SessionT,
    *,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    policy: Policy | None = None,
    ca_bundle: str | None = None,
    keeps_connection: bool = False,
) -> SessionT:
    """Put a session, such as an OAuth2Session, behind the guard and return it.

    A URL that requests cannot parse raises requests' own error before the guard
    sees it: `check_url` comes first. With `keeps_connection` the session holds one
    connection between requests and is for one thread; close it.
    """
    adapter = OutboundAdapter(limits=limits, policy=policy, ca_bundle=ca_bundle, keeps_connection=keeps_connection)
    session.trust_env = False
    session.adapters.clear()
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class _Session(requests.Session):
    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Refuse a bad URL before requests does, whose error would quote it."""
        read_target(url if isinstance(url, str) else url.decode("latin-1"))
        return super().request(method, url, *args, **kwargs)


class OutboundAdapter(HTTPAdapter):
    """Send through the guard; `verify`, `proxies`, `cert` and `timeout` of the caller are not heard."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        policy: Policy | None = None,
        ca_bundle: str | None = None,
        keeps_connection: bool = False,
    ) -> None:
        super().__init__()
        self.limits = limits
        self._policy = policy
        self._ca_bundle = ca_bundle
        self._keeps_connection = keeps_connection
        self._pool: Pool | None = None

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send one request and read the whole answer within the limits."""
        host = read_target(request.url or "").host
        timeout = (self.limits.connect_timeout_seconds, self.limits.total_timeout_seconds)
        try:
            response = super().send(request, stream=True, timeout=timeout)
            self._read(response, host)
        except Exception as error:
            failure = as_outbound_error(error, host)
        else:
            return response
        # Raised out here so that the library's error, which carries the
        # request and its secrets, is not even attached as context.
        raise failure

    def _read(self, response: requests.Response, host: str) -> None:
        try:
            if is_redirect(response.status_code):
                raise RedirectRefused(host)
            body = io.BytesIO()
            for chunk in response.iter_content(16_384):
                if body.tell() + len(chunk) > self.limits.max_answer_bytes:
                    raise AnswerTooLarge(host)
                body.write(chunk)
        finally:
            response.close()
        body.seek(0)
        response._content, response._content_consumed = body.getvalue(), True  # type: ignore[attr-defined]

    def build_response(self, request: requests.PreparedRequest, answer: Any) -> requests.Response:
        """Wrap an answer as requests does, but look for no cookies in it: none is ever kept."""
        response = requests.Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict(answer.headers)
        response.encoding = get_encoding_from_headers(response.headers)
        response.raw, response.reason = answer, answer.reason
        response.url, response.request = request.url or "", request
        response.connection = self
        return response

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: object = None,
    ) -> HTTPConnectionPool:
        """Give a pool for this request alone, or the one that was kept if all that it was judged by still holds."""
        target = read_target(request.url or "")
        context = ssl_context(self._ca_bundle) if target.scheme == "https" else None
        origin = Origin(target, self._policy or current_policy(), context)
        if self._pool is None or self._pool.origin != origin or not self._keeps_connection:
            self._close_pool()
            self._pool = pool_for(origin, self.limits, keeps=self._keeps_connection)
        return self._pool

    def close(self) -> None:
        """Close the connection that was kept, if any."""
        self._close_pool()
        super().close()

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def cert_verify(self, *_: object) -> None:
        """Leave verification to our own context: requests would add its roots, or switch it off."""
