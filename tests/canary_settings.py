"""The gateway's own settings, with every published task's arguments written to a file: for tests/test_canaries.py."""

import os
from typing import Any

from celery.signals import before_task_publish

from aigateway.settings import *  # noqa: F403


@before_task_publish.connect(weak=False)
def _write_down(sender: str, headers: Any, body: Any, **_: Any) -> None:
    with open(os.environ["CANARY_TASKS"], "a") as written:
        written.write(f"{sender} {headers!r} {body!r}\n")
