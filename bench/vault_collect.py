"""What collecting 1,000, 10,000 and 100,000 dead rows takes, by two processes at once, beside 1,000 live ones.

Goal: no transaction over a second, whatever the size, and the live rows as they were: counted, and by a checksum of
every column. The rows are those of users who are gone.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench import _vault

SIZES = (1_000, 10_000, 100_000)
LIVE = 1_000
LONGEST_SECONDS = 1.0


def checksum() -> str:
    """Return a digest of all columns of every entry whose user exists."""
    from django.contrib.auth.models import User

    from vault.models import VaultEntry

    digest = hashlib.sha256()
    for row in VaultEntry.objects.filter(user_id__in=User.objects.values("pk")).order_by("pk").values_list().iterator():
        digest.update(repr([getattr(value, "ciphertext", value) for value in row]).encode())
    return digest.hexdigest()


def die(count: int) -> None:
    """Have so many entries whose user is gone and whose tokens are wiped, and the live ones."""
    from django.contrib.auth.models import User

    from vault.models import VaultEntry

    _vault.empty()
    _vault.fill(LIVE + count, LIVE)
    dead = VaultEntry.objects.order_by("pk").values_list("pk", flat=True)[LIVE]
    VaultEntry.objects.filter(pk__gte=dead).update(access_token=None, refresh_token=None, refresh_due_at=None)
    departed = VaultEntry.objects.filter(pk__gte=dead).values("user_id")
    User.objects.filter(pk__in=departed)._raw_delete("default")
    _vault.run_sql("ANALYZE")


def collect() -> None:
    """Collect as the scheduled task does, until nothing is left; print what came of it."""
    from connections import cleanup

    collected, began = 0, time.monotonic()
    with timed_transactions() as transactions:
        while cleanup.waiting().entries:
            collected += cleanup.collect_orphans().user_gone
    seconds = time.monotonic() - began
    done = {"collected": collected, "longest": max(transactions, default=0.0), "seconds": seconds}
    print(json.dumps({**done, "peak": _vault.peak_megabytes()}))


@contextmanager
def timed_transactions() -> Iterator[list[float]]:
    """Note how long each transaction takes."""
    from django.db import transaction

    seen: list[float] = []
    real = transaction.atomic

    @contextmanager
    def timed(*args: Any, **kwargs: Any) -> Iterator[None]:
        began = time.monotonic()
        with real(*args, **kwargs):
            yield
        seen.append(time.monotonic() - began)

    transaction.atomic = timed  # type: ignore[assignment]
    try:
        yield seen
    finally:
        transaction.atomic = real


def both() -> list[dict[str, Any]]:
    """Collect in two processes at once; return what each did."""
    env = {**os.environ, "BENCH_COLLECT": "1"}
    command = [sys.executable, "-W", "ignore", sys.argv[0]]
    running = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate()[0] for process in running]
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


def measure() -> None:
    """Print a row per size."""
    from vault.models import VaultEntry

    if "BENCH_COLLECT" in os.environ:
        collect()
        return
    print(
        f"{'dead rows':>10}{'seconds':>9}{'ms per row':>12}{'growth':>8}{'longest transaction, ms':>25}{'peak MB':>9}"
    )
    first = 0.0
    for size in _vault.sizes(SIZES):
        die(size)
        before = checksum()
        done = both()
        longest, seconds = max(one["longest"] for one in done), max(one["seconds"] for one in done)
        each = seconds / size * 1000
        first = first or each
        assert sum(one["collected"] for one in done) == size, done
        assert (VaultEntry.objects.count(), checksum()) == (LIVE, before), "live rows changed"
        assert longest < LONGEST_SECONDS, longest
        print(
            f"{size:>10,}{seconds:>9.1f}{each:>12.2f}{each / first:>8.2f}{longest * 1000:>19.0f}"
            f"{max(one['peak'] for one in done):>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    _vault.main(sys.argv[0], measure)
