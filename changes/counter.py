"""Announce a change, and learn of the changes that any process announced.

Whoever changes a right, a token, a server, a provider, a secret or a connection calls `announce` in the
same transaction. Whoever remembers such things registers what to drop with `on_change`; `Watcher` calls it
within `CHANGE_POLL_SECONDS` of the commit, and also when the counter cannot be read (contract §8).
"""

import logging
import threading
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection
from django.db.models import F, Model
from django.db.models.signals import post_delete, post_save

from changes.models import ChangeCounter

logger = logging.getLogger(__name__)
_listeners: list[Callable[[], None]] = []


def announce() -> None:
    """Count one change, in the caller's transaction, and drop this process's own memory when it commits."""
    if not ChangeCounter.objects.filter(pk=1).update(value=F("value") + 1):
        ChangeCounter.objects.get_or_create(pk=1, defaults={"value": 1})
    connection.on_commit(drop_remembered)


def announce_rows_of(*models: type[Model]) -> None:
    """Announce whenever a row of these models is saved or deleted through the ORM."""
    for model in models:
        for signal in (post_save, post_delete):
            signal.connect(_announce_signal, sender=model, dispatch_uid=f"changes.{model._meta.label}")


def on_change(listener: Callable[[], None]) -> None:
    """Have `listener` called, from any thread, whenever what is remembered may be out of date."""
    _listeners.append(listener)


def current() -> int:
    """Return the counter as committed now."""
    return ChangeCounter.objects.filter(pk=1).values_list("value", flat=True).first() or 0


def drop_remembered() -> None:
    """Tell every listener to forget what it remembers."""
    for listener in _listeners:
        listener()


def _announce_signal(**_: object) -> None:
    announce()


class Watcher(threading.Thread):
    """Re-read the counter off the call path; forget everything when it moved or cannot be read."""

    def __init__(self) -> None:
        super().__init__(name="change-watcher", daemon=True)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Poll until `stop`; a database that does not answer counts as a change every time."""
        seen: int | None = None
        while not self._stopping.wait(settings.CHANGE_POLL_SECONDS):
            now = self._read()
            if now is None or now != seen:
                drop_remembered()
            seen = now
        connection.close()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout=5)

    def _read(self) -> int | None:
        try:
            close_old_connections()
            return current()
        except DatabaseError as exc:
            logger.warning("change counter cannot be read", extra={"error": type(exc).__name__})
            connection.close()
            return None
