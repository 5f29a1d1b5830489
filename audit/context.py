"""The request that is being served, for log lines and audit rows: its id, and the address that it came from."""

from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import NamedTuple


class Request(NamedTuple):
    """What is known of the request: `request_id` and the caller's `address`, each maybe empty."""

    request_id: str = ""
    address: str = ""


NONE = Request()
_current: ContextVar[Request] = ContextVar("audit_request", default=NONE)


def current() -> Request:
    """Return the request being served in this context, or an empty one."""
    return _current.get()


class serving(AbstractContextManager[None]):
    """Make `request` the current one inside the block."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._token: Token[Request] | None = None

    def __enter__(self) -> None:
        self._token = _current.set(self._request)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
