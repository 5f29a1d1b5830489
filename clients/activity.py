"""When things were last used, noted on the call path and written in batches off it."""

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from clients.models import ApiToken

Writer = Callable[[dict[int, datetime]], None]


class LastUsed:
    """Collects `key -> when` in memory; `flush` hands the batch to `write` and forgets it."""

    def __init__(self, write: Writer) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._seen: dict[int, float] = {}

    def note(self, key: int) -> None:
        """Remember that the row was used now."""
        self._seen[key] = time.time()

    def flush(self) -> None:
        """Write what was noted since the last flush; what could not be written comes with the next."""
        with self._lock:
            batch, self._seen = self._seen, {}
            if not batch:
                return
            try:
                self._write({key: datetime.fromtimestamp(at, UTC) for key, at in batch.items()})
            except Exception:
                for key, at in batch.items():
                    self._seen.setdefault(key, at)
                raise


def _write_tokens(batch: dict[int, datetime]) -> None:
    for pk, at in batch.items():
        ApiToken.objects.filter(pk=pk).update(last_used_at=at)


_tokens = LastUsed(_write_tokens)
_recorders: list[LastUsed] = [_tokens]
token_used = _tokens.note


def register(recorder: LastUsed) -> None:
    """Have `recorder` flushed with the others."""
    _recorders.append(recorder)


def flush() -> None:
    """Write everything noted. Called every `ACTIVITY_FLUSH_SECONDS` and at a clean stop."""
    for recorder in _all():
        recorder.flush()


def _all() -> Iterable[LastUsed]:
    return tuple(_recorders)
