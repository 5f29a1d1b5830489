"""How many calls a minute, by key: one number per key, in this process only (a token bucket, kept as in GCRA)."""

import time
from collections.abc import Hashable

KEPT = 10_000


class Rates:
    """Buckets that hold a minute's worth of calls and fill evenly."""

    def __init__(self) -> None:
        self._full_at: dict[Hashable, float] = {}

    def take(self, key: Hashable, per_minute: int) -> float:
        """Take one call; return 0, or after how many seconds there will be one to take."""
        now = time.monotonic()
        full_at = self._full_at.get(key, now)
        if full_at < now:
            full_at = now
        full_at += 60.0 / per_minute
        if (wait := full_at - now - 60.0) > 1e-9:
            return wait
        self._full_at[key] = full_at
        if len(self._full_at) > KEPT:
            self._forget_full(now)
        return 0.0

    def clear(self) -> None:
        """Fill every bucket."""
        self._full_at.clear()

    def _forget_full(self, now: float) -> None:
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
