"""Refusals and failures of the data plane, written down without flooding the trail or telling what was sent."""

import time
from collections import OrderedDict

from django.contrib.auth.models import User

from audit import trail
from connections.database import run_in_thread
from mcpservers.dataplane.routing import Caller

ONE_EVENT_PER_SECONDS = 60.0
_recorded: OrderedDict[tuple[int, str, str], float] = OrderedDict()


async def record(caller: Caller, server_name: str, action: str = "mcp.refused", **data: str) -> None:
    """Audit that a caller may not use a server, or one of its tools; at most once a minute for the same two."""
    key, now = (caller.user_id, server_name, action), time.monotonic()
    if now - _recorded.get(key, -ONE_EVENT_PER_SECONDS) < ONE_EVENT_PER_SECONDS:
        return
    _recorded[key] = now
    while len(_recorded) > 10_000:
        _recorded.popitem(last=False)
    await run_in_thread(_record, caller, server_name, action, data)


def _record(caller: Caller, server_name: str, action: str, data: dict[str, str]) -> None:
    user = User.objects.filter(pk=caller.user_id).first()
    trail.record(action, actor=user, target_type="mcp_server", target=server_name, result=trail.REFUSED, **data)


def where(error: BaseException) -> str:
    """Return the file and line at which an error was raised: what a log may say of it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
