"""The limits of the data plane, read from the settings once: a call looks at many of them."""

from typing import Any, NamedTuple

from django.conf import settings
from django.core.signals import setting_changed


class Limits(NamedTuple):
    """Places at a time, calls a minute (0: any number), seconds, bytes."""

    calls_per_user: int
    streams_per_user: int
    calls_per_server: int
    streams_per_server: int
    per_minute_per_user: int
    per_minute_per_server: int
    request_seconds: float
    call_seconds: float
    busy_wait_seconds: float
    connect_seconds: float
    first_byte_seconds: float
    idle_seconds: float
    request_bytes: int
    circuit_failures: int
    circuit_open_seconds: float


_current: Limits | None = None


def current() -> Limits:
    """Return the limits that hold now."""
    return _current or _read()


def _read() -> Limits:
    global _current  # noqa: PLW0603 - read anew after a test has changed a setting
    _current = Limits(
        settings.AIGW_CALLS_PER_USER,
        settings.AIGW_STREAMS_PER_USER,
        settings.AIGW_CALLS_PER_SERVER,
        settings.AIGW_STREAMS_PER_SERVER,
        settings.AIGW_CALLS_PER_MINUTE_PER_USER,
        settings.AIGW_CALLS_PER_MINUTE_PER_SERVER,
        settings.AIGW_REQUEST_TIMEOUT_SECONDS,
        settings.AIGW_CALL_TIMEOUT_SECONDS,
        settings.AIGW_BUSY_WAIT_SECONDS,
        settings.AIGW_UPSTREAM_CONNECT_TIMEOUT_SECONDS,
        settings.AIGW_UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS,
        settings.AIGW_UPSTREAM_IDLE_TIMEOUT_SECONDS,
        settings.AIGW_MAX_REQUEST_BYTES,
        settings.AIGW_CIRCUIT_FAILURES,
        settings.AIGW_CIRCUIT_OPEN_SECONDS,
    )
    return _current


def _forget(**_: Any) -> None:
    global _current  # noqa: PLW0603 - see above
    _current = None


setting_changed.connect(_forget, dispatch_uid="mcpservers.dataplane.limits")
