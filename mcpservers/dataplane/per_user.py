"""What a process keeps of its users' things, the least recently used first: so many in all, and so many of each user.

Whoever begins more than their share makes room among their own, so that nobody else's are forgotten for it.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class PerUser(Generic[Value]):
    """Values by id, each of one user."""

    def __init__(self, *, in_all: int, per_user: int) -> None:
        self.in_all, self.per_user = in_all, per_user
        self._kept: OrderedDict[str, tuple[int, Value]] = OrderedDict()
        self._of_user: dict[int, OrderedDict[str, None]] = {}

    def get(self, id: str) -> Value | None:
        """Return a value; None when there is none."""
        found = self._kept.get(id)
        return None if found is None else found[1]

    def used(self, id: str) -> None:
        """Keep it longer than what was not used since."""
        self._kept.move_to_end(id)
        self._of_user[self._kept[id][0]].move_to_end(id)

    def put(self, id: str, user_id: int, value: Value) -> None:
        """Keep a value; the least recently used ones make room."""
        self._kept[id] = user_id, value
        own = self._of_user.setdefault(user_id, OrderedDict())
        own[id] = None
        if len(own) > self.per_user:
            self.pop(next(iter(own)))
        while len(self._kept) > self.in_all:
            self.pop(next(iter(self._kept)))

    def pop(self, id: str) -> Value | None:
        """Forget a value and return it."""
        user_id, value = self._kept.pop(id, (0, None))
        own = self._of_user.get(user_id)
        if own is not None:
            own.pop(id, None)
            if not own:
                del self._of_user[user_id]
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._of_user.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Value]:
        """Go through the values."""
        return iter([value for _, value in self._kept.values()])
