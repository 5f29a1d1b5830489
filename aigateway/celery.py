"""The Celery application: Redis when there is one, otherwise a broker inside the web process."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutdown

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aigateway.settings")
app = Celery("aigateway")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()
app.autodiscover_tasks()

# In memory: every schedule is an interval, so nothing of it need survive a restart, and no file is written.
SCHEDULER = "celery.beat:Scheduler"


@worker_init.connect
def refuse_unsafe_start(**_: Any) -> None:
    """End a worker whose settings are unsafe, whose keys are not this database's, or that cannot tell.

    By then it has loaded everything; one of `serve` waits here until the parent has migrated.
    """
    from django.core.exceptions import ImproperlyConfigured
    from django.db import DatabaseError

    from aigateway import gate, silence, starting

    if descriptor := os.environ.pop(gate.WAIT_AT, ""):
        gate.pass_through(int(descriptor))
    silence.is_not_waited_out()
    try:
        starting.verify()
    except ImproperlyConfigured as exc:
        # Celery only logs an Exception of a signal handler and goes on; SystemExit ends it.
        raise SystemExit(f"refusing to start: {exc}") from None
    except DatabaseError as exc:
        why = f"the database does not answer, or was never migrated ({type(exc).__name__})"
        raise SystemExit(f"refusing to start: {why}. Run `manage.py migrate` first.") from None


@worker_ready.connect
def record_metrics(**_: Any) -> None:
    """Have a worker that is a process of its own tell its numbers. An embedded one never sends this signal."""
    from metrics.recorder import Recorder

    recorder = Recorder()
    recorder.start()
    worker_shutdown.connect(lambda **_: recorder.stop(), weak=False)
