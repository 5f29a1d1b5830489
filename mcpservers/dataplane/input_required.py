"""The first rung of the consent ladder: MCP 2026-07-28, "Multi Round-Trip Requests" (contract §6).

A call without a token is answered with `InputRequiredResult`: one URL-mode `elicitation/create` and a
`requestState` of ours. The client opens the link and retries at once; the retry is held until the consent is
there, then the call is made as it was: without our fields, and with the upstream's own round restored. While the
user takes their time, question and retry alternate, `MAX_QUESTIONS` times at the most.
"""

import hashlib
import json
import zlib
from base64 import b85decode, b85encode
from dataclasses import dataclass, replace
from typing import Any

from mcp_types import CLIENT_CAPABILITIES_META_KEY
from mcp_types.methods import INPUT_REQUIRED_METHODS

from mcpservers.dataplane.jsonrpc import Message
from mcpservers.dataplane.routing import Caller, Plan
from vault.sealing import Unreadable, open_text, seal_text

KEY = "aigateway_consent"
MARK = "aigw1."
PURPOSE = "request state"
LIFETIME_SECONDS = 3600
ROUND = ("requestState", "inputResponses")
# Clients give up after ten rounds with an error of their own, in which the link is lost: ours must come before it.
MAX_QUESTIONS = 8


class ForeignState(Exception):
    """The `requestState` is ours to judge and not good: altered, expired, or another user's, server's or call's."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A call that comes back: as it was first meant, whether the user said no, and how often they have been asked."""

    message: Message
    is_declined: bool
    asked: int


def is_declared(message: Message) -> bool:
    """Tell whether this very request says that its client can open links, and may be answered in this way."""
    meta = message.params.get("_meta")
    declared = meta.get(CLIENT_CAPABILITIES_META_KEY) if isinstance(meta, dict) else None
    elicitation = declared.get("elicitation") if isinstance(declared, dict) else None
    opens_links = isinstance(elicitation, dict) and isinstance(elicitation.get("url"), dict)
    return opens_links and message.is_modern and message.method in INPUT_REQUIRED_METHODS


def offer(message: Message, plan: Plan, caller: Caller, *, link: str, text: str, asked: int = 0) -> dict[str, Any]:
    """Return the `InputRequiredResult` that asks the user to open `link`, who was `asked` so often before."""
    own_round = {name: message.params[name] for name in ROUND if name in message.params}
    bound = [*binding(message, plan, caller), asked + 1, own_round]
    packed = b85encode(zlib.compress(json.dumps(bound, separators=(",", ":")).encode())).decode("ascii")
    elicitation = {"method": "elicitation/create", "params": {"mode": "url", "message": text, "url": link}}
    return {
        "resultType": "input_required",
        "inputRequests": {KEY: elicitation},
        "requestState": MARK + seal_text(PURPOSE, packed),
    }


def retry_of(message: Message, plan: Plan, caller: Caller) -> Retry | None:
    """Return the call that this message retries; None when it carries no state of ours. Raises ForeignState."""
    state = message.params.get("requestState")
    if not isinstance(state, str) or not state.startswith(MARK):
        return None
    try:
        packed = open_text(PURPOSE, state.removeprefix(MARK), max_age_seconds=LIFETIME_SECONDS)
        *bound, asked, own_round = json.loads(zlib.decompress(b85decode(packed)))
    except (Unreadable, ValueError, zlib.error):
        raise ForeignState from None
    if bound != binding(message, plan, caller):
        raise ForeignState
    said = message.params.get("inputResponses")
    said = said.get(KEY) if isinstance(said, dict) else None
    is_declined = isinstance(said, dict) and said.get("action") in {"decline", "cancel"}
    params = {name: value for name, value in message.params.items() if name not in ROUND} | own_round
    return Retry(replace(message, params=params), is_declined, asked)


def binding(message: Message, plan: Plan, caller: Caller) -> list[Any]:
    """Return what a state is good for: this user, server, method and parameters (`_meta` may differ by retry)."""
    meant = {name: value for name, value in message.params.items() if name not in {*ROUND, "_meta"}}
    digest = hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()
    return [caller.user_id, str(plan.server_uid), message.method, digest]
