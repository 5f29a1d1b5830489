"""Give up a PostgreSQL connection on which nothing comes back.

A network that drops packets without a word, or a server that is stopped, answers on the level of TCP or not at all: no
setting of libpq ends a statement then, and its thread would wait for good. So processes that serve count the seconds
themselves. Commands do not: what they ask may take as long as it takes.
"""

from collections.abc import Generator
from typing import Any, ClassVar, TypeVar

import psycopg

STATEMENT_SECONDS = 8.0
# For the pool's question whether a connection is alive; together with `POOL_SECONDS` it bounds what a call waits.
CHECK_SECONDS = 2.0
POOL_SECONDS = 8.0
T = TypeVar("T")


class Connection(psycopg.Connection[Any]):
    """A connection that is closed, with OperationalError, when one statement takes longer than `patience_seconds`."""

    patience_seconds: ClassVar[float | None] = None

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Run one step of the protocol, in time."""
        patience = self._patience_seconds() if timeout is None else timeout
        try:
            return super().wait(gen, interval, patience)
        except psycopg.errors._WaitTimeout:
            # The server may be at it still: what it answers later must not be taken for the next answer.
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the database was silent for {patience:g} seconds") from None

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Execute, in `CHECK_SECONDS`: Django uses cursors, and only the pool's check comes this way."""
        self._is_check = True
        try:
            return super().execute(*args, **kwargs)
        finally:
            self._is_check = False

    _is_check = False

    def _patience_seconds(self) -> float | None:
        if self._is_check and self.patience_seconds is not None:
            return min(CHECK_SECONDS, self.patience_seconds)
        return self.patience_seconds


def is_not_waited_out() -> None:
    """Have this process, which serves others, give up silent connections from now on."""
    Connection.patience_seconds = STATEMENT_SECONDS
