"""What a process remembers of the database for moments: dropped as a whole when anything changed.

A value that was being read while a change arrived is used once and not kept: it may be older than the change.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from changes import counter

V = TypeVar("V")


class Memory(Generic[V]):
    """Remembers at most `size` values for at most `seconds` each; forgets all of them on a change."""

    def __init__(self, *, seconds: float, size: int = 10_000) -> None:
        self._seconds, self._size, self._epoch = seconds, size, 0
        self._values: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()
        counter.on_change(self.clear)

    def clear(self) -> None:
        """Forget everything, and whatever is being read at this moment."""
        self._epoch += 1
        self._values = OrderedDict()

    def forget(self, key: Hashable) -> None:
        """Forget one value."""
        self._values.pop(key, None)

    def peek(self, key: Hashable) -> V | None:
        """Return what is remembered, or None."""
        kept = self._values.get(key)
        return kept[1] if kept and kept[0] > time.monotonic() else None

    async def get(self, key: Hashable, read: Callable[[], Awaitable[V]]) -> V:
        """Return what is remembered, or read it; what `read` raises is not remembered."""
        kept = self.peek(key)
        if kept is not None:
            return kept
        epoch, values = self._epoch, self._values
        value = await read()
        if epoch == self._epoch:
            values[key] = (time.monotonic() + self._seconds, value)
            while len(values) > self._size:
                values.popitem(last=False)
        return value
