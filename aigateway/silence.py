"""Give up a PostgreSQL connection on which nothing comes back.

A network that drops packets without a word, or a server that is stopped, answers on the level of TCP or not at all: no
setting of libpq ends a statement then, and its thread would wait for good. So processes that serve count the seconds
themselves. Commands do not: what they ask may take as long as it takes.
"""

import select
import time
from collections.abc import Generator
from typing import Any, ClassVar, TypeVar

import psycopg

STATEMENT_SECONDS = 8.0
# For the pool's question whether a connection is alive; together with `POOL_SECONDS` it bounds what a call waits.
CHECK_SECONDS = 2.0
POOL_SECONDS = 8.0
# A connection that was heard so lately is not asked again, if the server has said nothing since: not that it ends.
HEARD_SECONDS = 0.5
T = TypeVar("T")


class Connection(psycopg.Connection[Any]):
    """A connection that is closed, with OperationalError, when one statement takes longer than `patience_seconds`."""

    patience_seconds: ClassVar[float | None] = None
    _heard_at = 0.0

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Run one step of the protocol, in time."""
        patience = self._patience_seconds() if timeout is None else timeout
        try:
            answer = super().wait(gen, interval, patience)
            self._heard_at = time.monotonic()
            return answer
        except psycopg.errors._WaitTimeout:
            # The server may be at it still: what it answers later must not be taken for the next answer.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the database was silent for {patience:g} seconds") from None

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Execute, in `CHECK_SECONDS`: Django uses cursors, and only the pool's check comes this way.

        A connection that was heard a moment ago is taken for alive: a server that ends or restarts says goodbye.
        """
        if self._was_heard_just_now():
            return None
        self._is_check = True
        try:
            return super().execute(*args, **kwargs)
        finally:
            self._is_check = False

    def _was_heard_just_now(self) -> bool:
        """Tell whether the server has answered less than `HEARD_SECONDS` ago and has sent nothing since."""
        if time.monotonic() - self._heard_at > HEARD_SECONDS:
            return False
        unread = select.poll()
        unread.register(self.fileno(), select.POLLIN)
        return not unread.poll(0)

    _is_check = False

    def _patience_seconds(self) -> float | None:
        if self._is_check and self.patience_seconds is not None:
            return min(CHECK_SECONDS, self.patience_seconds)
        return self.patience_seconds


def is_not_waited_out() -> None:
    """Have this process, which serves others, give up silent connections from now on."""
    Connection.patience_seconds = STATEMENT_SECONDS
