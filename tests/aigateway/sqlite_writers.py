"""Many threads that write to the gateway's SQLite; prints the errors they met. Run by test_sqlite.py."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aigateway.settings")
django.setup()

from django.db import DatabaseError, connection, transaction  # noqa: E402

from changes import counter  # noqa: E402


def write(times: int) -> list[str]:
    """Announce a change `times` times, each in a transaction that reads first, as the gateway's do."""
    errors = []
    for _ in range(times):
        try:
            with transaction.atomic():
                counter.current()
                counter.announce()
        except DatabaseError as exc:
            errors.append(str(exc))
    connection.close()
    return errors


if __name__ == "__main__":
    threads, writes = map(int, sys.argv[1:])
    with ThreadPoolExecutor(threads) as pool:
        for errors in pool.map(write, [writes] * threads):
            print("\n".join(errors), end="")
