"""Migrate once, however many processes start at the same time (G09): one migrates, the others wait for it."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from vault.migrated import pending

__all__ = ["migrate", "pending"]
Say = Callable[[str], object]

# Any number does, as long as every release uses the same one.
ADVISORY_LOCK = 0x41494757


def migrate(say: Say) -> None:
    """Apply what is pending, alone. Says what it does and when it has to wait."""
    with _alone(say):
        waiting = pending()
        if not waiting:
            say("database is up to date")
            return
        say(f"applying {waiting} migrations ...")
        call_command("migrate", interactive=False, verbosity=0)
        say("database is migrated")


@contextmanager
def _alone(say: Say) -> Iterator[None]:
    with _file_lock(say) if settings.EMBEDDED else _advisory_lock(say):
        yield


@contextmanager
def _file_lock(say: Say) -> Iterator[None]:
    # Taken before the first connection: switching a new SQLite file to WAL does not wait for others.
    settings.AIGW_DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (settings.AIGW_DATA_DIR / "migrate.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is migrating; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _advisory_lock(say: Say) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK])
        if not cursor.fetchone()[0]:
            say("another process is migrating; waiting for it ...")
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
