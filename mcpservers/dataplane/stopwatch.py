"""Whose time it is while a request waits: the MCP server's, or that of a user who is asked to connect."""

from contextvars import ContextVar
from time import perf_counter


class Times:
    """Seconds of one request that the gateway spent waiting."""

    __slots__ = ("upstream", "user")

    def __init__(self) -> None:
        self.upstream = self.user = 0.0


current: ContextVar[Times | None] = ContextVar("times_of_call", default=None)


def waited_for_upstream(since: float) -> None:
    """Count the time from `since`, of `time.perf_counter`, until now as the MCP server's."""
    times = current.get()
    if times is not None:
        times.upstream += perf_counter() - since


def waited_for_user(since: float) -> None:
    """Count the time from `since`, of `time.perf_counter`, until now as the user's."""
    times = current.get()
    if times is not None:
        times.user += perf_counter() - since
