"""What can go wrong on the way out; every message is safe to show and to log.

    OutboundError
    ├── AddressNotAllowed   the address is denied and the operator did not allow it
    ├── InvalidURL          not a URL we accept, before any network is touched
    ├── HTTPSRequired       plain http to anything but an allowed loopback address
    ├── ConnectFailed       no such name, nobody listens, the connection broke
    │   └── TLSFailed       the certificate or the handshake was refused
    ├── TimedOut            a time limit passed
    ├── RedirectRefused     the answer was a 3xx; we follow none
    ├── AnswerTooLarge      the answer went over its size limit, or could have
    ├── InvalidAnswer       the answer is not HTTP/1.1, or could be read in two ways
    └── InvalidRequest      a header of ours would have become two; nothing was sent

Messages name the host and nothing else of a URL: path, query and userinfo may
hold a secret, and so may the errors of the HTTP libraries, which are dropped.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class OutboundError(Exception):
    """Say why a request did not go out or brought no usable answer."""

    code: ClassVar[str] = "outbound_failed"
    template: ClassVar[str] = "The request to {host} failed."

    def __init__(self, host: str = "", reason: str = "") -> None:
        self.host = host[:255]
        self.reason = reason
        self.purpose = ""
        super().__init__(host, reason)

    def __str__(self) -> str:
        text = self.template.format(host=self.host or "the server", reason=self.reason)
        return f"{self.purpose}: {text}" if self.purpose else text


class AddressNotAllowed(OutboundError):
    """Refuse a denied address, in the same words whatever is or is not behind it."""

    code = "address_not_allowed"
    template = (
        "{host} is not an allowed address: it is private, loopback, link-local or reserved, "
        "and AIGW_OUTBOUND_ALLOW does not name it."
    )


class InvalidURL(OutboundError):
    """Refuse a URL by its spelling; the reason never quotes the URL."""

    code = "invalid"
    template = "Not a usable URL: {reason}."


class HTTPSRequired(OutboundError):
    """Refuse plain http, except to an allowed loopback address."""

    code = "https_required"
    template = "HTTPS required: the address of {host} must start with https://."


class ConnectFailed(OutboundError):
    """Report that no connection came about, or that it broke."""

    code = "connect_failed"
    template = "Could not reach {host}."


class TLSFailed(ConnectFailed):
    """Report a certificate or handshake that we do not accept."""

    code = "tls_failed"
    template = "No secure connection to {host}{reason}."


class TimedOut(OutboundError):
    """Report that a time limit passed before the answer was complete."""

    code = "timed_out"
    template = "{host} did not answer in time."


class RedirectRefused(OutboundError):
    """Report an answer that sends us elsewhere; the target is not named."""

    code = "redirect_refused"
    template = "{host} answered with a redirect, which is not followed."


class AnswerTooLarge(OutboundError):
    """Report an answer over its size limit, or compressed unasked so that it could be."""

    code = "answer_too_large"
    template = "The answer of {host} is larger than allowed."


class InvalidAnswer(OutboundError):
    """Report an answer that is no HTTP/1.1, or that two readers could take in two ways (RFC 9112 §6.3)."""

    code = "invalid_answer"
    template = "{host} sent an answer that is not valid HTTP."


class InvalidRequest(OutboundError):
    """Report a header with a line break or a NUL in it; nothing was sent."""

    code = "invalid_request"
    template = "The request to {host} holds a header that cannot be sent."


def as_outbound_error(error: BaseException, host: str = "") -> OutboundError:
    """Turn any library's error, or a group of them, into one of this tree."""
    links = list(_links(error))
    for link in links:
        if isinstance(link, OutboundError):
            return link
    for link in links:
        if isinstance(link, ssl.SSLError):
            why = getattr(link, "verify_message", "").rstrip(".")
            return TLSFailed(host, f": {why}" if why else "")
    if any(isinstance(link, TimeoutError) for link in links):
        return TimedOut(host)
    return ConnectFailed(host)


@contextmanager
def translated(host: str) -> Iterator[None]:
    """Let only errors of this tree out of the block, without the one they came from."""
    try:
        yield
    except OutboundError:
        raise
    except Exception as error:
        raise as_outbound_error(error, host) from None


def is_redirect(status: int) -> bool:
    """Tell an answer that points elsewhere; 304 only points back at a cache."""
    return 300 <= status < 400 and status != 304


def _links(error: BaseException) -> Iterator[BaseException]:
    """Walk an error, its causes, its wrapped arguments and the members of a group."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        link = queue.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        members = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
        queue += [*members, link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
