"""Calls whose caller was asked something and has not come back yet (MCP 2026-07-28, "Multi Round-Trip Requests").

The upstream's call stays open in this process while the caller's user thinks. What the caller holds meanwhile is a
sealed `requestState`, good for this call, this user and these parameters, and for one answer.
"""

import asyncio
import json
import secrets
from dataclasses import dataclass

from django.conf import settings

from mcpservers.dataplane import input_required, limits
from mcpservers.dataplane.bridging import shapes
from mcpservers.dataplane.bridging.call import Asked, Call, Json
from mcpservers.dataplane.jsonrpc import Message
from mcpservers.dataplane.routing import Caller, Plan
from vault.sealing import Unreadable, open_text, seal_text

MARK = "aigwb1."
PURPOSE = "bridged request state"
KEPT = 10_000


class StateRefused(Exception):
    """The `requestState` is not good here; the message says what to do and is safe to show."""


FOREIGN = "This requestState is not one for this call, or it has expired. Make the call again without it."
GONE = "The call that asked is no longer open: it was answered, ended, or lives in another process. Make it again."


@dataclass(slots=True)
class _Round:
    user_id: int
    call: Call
    questions: list[Asked]
    expiry: asyncio.TimerHandle


_rounds: dict[str, _Round] = {}
_leaving: set[asyncio.Task[None]] = set()


def offer(call: Call, questions: list[Asked], message: Message, plan: Plan, caller: Caller) -> Json:
    """Return the `InputRequiredResult` that puts these questions, and hold the call until it is answered.

    A user's calls that wait are as many as may be under way; the oldest makes room, and is cancelled upstream.
    """
    id = secrets.token_urlsafe(12)
    seconds = settings.AIGW_BRIDGED_ANSWER_SECONDS
    expiry = asyncio.get_running_loop().call_later(seconds, _expire, id)
    _make_room(caller.user_id)
    _rounds[id] = _Round(caller.user_id, call, questions, expiry)
    while len(_rounds) > KEPT:
        _expire(next(iter(_rounds)))
    bound = [id, *input_required.binding(message, plan, caller)]
    return {
        "resultType": "input_required",
        "inputRequests": {asked.key: shapes.question_for_modern(asked.method, asked.params) for asked in questions},
        "requestState": MARK + seal_text(PURPOSE, json.dumps(bound, separators=(",", ":"))),
    }


def resumed(message: Message, plan: Plan, caller: Caller) -> Call | None:
    """Give the answers of a call that comes back to whoever asked, and return it; None when this begins a new one.

    Raises StateRefused.
    """
    if "requestState" not in message.params:
        return None
    id = _opened(message, plan, caller)
    if id not in _rounds:
        raise StateRefused(GONE)
    said = message.params.get("inputResponses")
    said = said if isinstance(said, dict) else {}
    own = _rounds[id]
    if any(not isinstance(said.get(asked.key), dict) for asked in own.questions):
        raise StateRefused("inputResponses does not answer every question that was asked.")
    del _rounds[id]
    own.expiry.cancel()
    for asked in own.questions:
        if not asked.answer.done():
            asked.answer.set_result(said[asked.key])
    return own.call


def _opened(message: Message, plan: Plan, caller: Caller) -> str:
    state = message.params["requestState"]
    if not isinstance(state, str) or not state.startswith(MARK):
        raise StateRefused(FOREIGN)
    age = int(settings.AIGW_BRIDGED_ANSWER_SECONDS)
    try:
        id, *bound = json.loads(open_text(PURPOSE, state.removeprefix(MARK), max_age_seconds=age))
    except (Unreadable, ValueError):
        raise StateRefused(FOREIGN) from None
    if bound != input_required.binding(message, plan, caller):
        raise StateRefused(FOREIGN)
    return str(id)


def _make_room(user_id: int) -> None:
    own = [id for id, held in _rounds.items() if held.user_id == user_id]
    for id in own[: max(len(own) + 1 - limits.current().calls_per_user, 0)]:
        _expire(id)


def _expire(id: str) -> None:
    """Cancel a call upstream to which nobody came back."""
    if (own := _rounds.pop(id, None)) is not None:
        own.expiry.cancel()
        task = asyncio.get_running_loop().create_task(own.call.leave())
        _leaving.add(task)
        task.add_done_callback(_leaving.discard)
