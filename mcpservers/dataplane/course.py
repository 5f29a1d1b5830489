"""How far one visit has come: what it asks, which places it holds, until when it may last, and why it was ended."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from mcpservers.dataplane.jsonrpc import Failure, Message


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a visit was ended, as its caller is told while no answer has begun."""

    status: int
    code: str
    detail: str
    header: tuple[bytes, bytes]


class Course:
    """The changing part of a visit.

    `began` and `deadline`, None for no limit, are times of the loop of `task`; `message` is what it asks, once that is
    known, `kind` which sort of place that takes; `generation` that of the user's own token with which it has reached
    the upstream.
    """

    __slots__ = (
        "_cancelled",
        "_held",
        "began",
        "deadline",
        "ending",
        "generation",
        "is_listening",
        "kind",
        "message",
        "task",
    )

    def __init__(self) -> None:
        self.task: asyncio.Task[object] | None = None
        self.began = 0.0
        self.deadline: float | None = None
        self.message: Message | None = None
        self.is_listening, self.kind = False, ""
        self.generation: int | None = None
        self.ending: Ended | Failure | None = None
        self._held: list[tuple[Callable[[Hashable], None], Hashable]] = []
        self._cancelled = 0

    def holds(self, leave: Callable[[Hashable], None], key: Hashable) -> None:
        """Have `leave` called with `key` when the visit is over."""
        self._held.append((leave, key))

    def over(self) -> None:
        """Give back what it holds."""
        for leave, key in self._held:
            leave(key)
        self._held = []

    def end(self, why: Ended | Failure) -> None:
        """End the visit as soon as its task runs."""
        if self.task is not None:
            self.ending = self.ending or why
            self._cancelled += 1
            self.task.cancel()

    def take_back(self) -> bool:
        """Undo our cancellations; tell whether nobody else has cancelled the task."""
        left = 0
        for _ in range(self._cancelled):
            left = self.task.uncancel() if self.task is not None else 0
        return left == 0
