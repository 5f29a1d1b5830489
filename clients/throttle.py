"""Slow down guessing of API tokens: so many failures a minute from one address, then 429 (F08).

Counted in the process, by the address that `clients.addresses` judged; a right token from another address
is not affected. Guessing 256 random bits is hopeless anyway; this keeps the noise and the load away.
"""

import threading
import time
from collections import OrderedDict

from django.conf import settings

from audit import context

WINDOW_SECONDS = 60
ADDRESSES_KEPT = 10_000
_lock = threading.Lock()
_failures: OrderedDict[str, tuple[float, int]] = OrderedDict()


def count_failure() -> None:
    """Count one wrong token from the current request's address."""
    address, now = context.current().address, time.monotonic()
    with _lock:
        since, count = _failures.pop(address, (now, 0))
        if now - since >= WINDOW_SECONDS:
            since, count = now, 0
        _failures[address] = (since, count + 1)
        while len(_failures) > ADDRESSES_KEPT:
            _failures.popitem(last=False)


def seconds_to_wait() -> int:
    """Return how long the current request's address must wait, 0 when it need not."""
    since, count = _failures.get(context.current().address, (0.0, 0))
    remaining = since + WINDOW_SECONDS - time.monotonic()
    return max(1, int(remaining)) if count >= settings.AIGW_FAILED_TOKENS_PER_MINUTE and remaining > 0 else 0


def reset() -> None:
    """Forget every count."""
    _failures.clear()
