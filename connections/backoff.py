"""How long to wait after a failure: doubling, capped, and spread upwards only, so that no try comes early."""

import random

# 30, 60, 120, 240 s: the fifth try comes no sooner than 7.5 minutes and the sixth 15 minutes after the first (B07).
REFRESH_FIRST_SECONDS = 30.0
REFRESH_MOST_SECONDS = 900.0
REVOCATION_FIRST_SECONDS = 60.0
REVOCATION_MOST_SECONDS = 6 * 3600.0
RETRY_AFTER_MOST_SECONDS = 3600.0


def refresh_delay_seconds(failures: int, retry_after_seconds: float | None = None) -> float:
    """Return the wait after the `failures`-th failure in a row, at least what the provider asked for (B08)."""
    asked = min(retry_after_seconds or 0.0, RETRY_AFTER_MOST_SECONDS)
    return max(_doubling(failures, REFRESH_FIRST_SECONDS, REFRESH_MOST_SECONDS), asked)


def revocation_delay_seconds(attempts: int) -> float:
    """Return the wait after the `attempts`-th attempt to revoke."""
    return _doubling(attempts, REVOCATION_FIRST_SECONDS, REVOCATION_MOST_SECONDS)


def _doubling(count: int, first: float, most: float) -> float:
    delay = min(first * 2.0 ** min(max(count - 1, 0), 30), most)
    return delay * random.uniform(1, 1.5)  # noqa: S311 - spreads load, no secret
