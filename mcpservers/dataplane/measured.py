"""What a request costs and what comes of it: measured while it is served, noted when it ends.

Nothing of what was said is kept: of a message its method, and of a call the tool's name, cut to length and without
control characters (H04). `mcpservers.activity` writes rows and log lines from the notes, off the call path.
"""

from collections.abc import Awaitable
from contextvars import Token
from functools import lru_cache
from time import perf_counter
from types import TracebackType
from typing import Any

from mcpservers.activity import ledger
from mcpservers.activity.finished import METHOD_LENGTH, TOOL_LENGTH, FinishedCall
from mcpservers.activity.outcomes import Outcome
from mcpservers.dataplane import stopwatch, verdicts
from mcpservers.dataplane.elicitation import URL_ELICITATION_REQUIRED
from mcpservers.dataplane.exchange import Exchange, Send
from mcpservers.dataplane.jsonrpc import NEEDS_CONSENT, Message, Reason
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.dataplane.stopwatch import Times
from mcpservers.dataplane.verdicts import SILENT, Verdict
from metrics import catalog

LISTENING = frozenset({"GET", "subscriptions/listen"})
# Only these name something that an admin knows; a resource's address may hold anything.
NAMED = frozenset({"tools/call", "prompts/get"})
CONSENT_REASONS = frozenset(reason.name for reason in NEEDS_CONSENT)
REASONS = frozenset(reason.name for reason in Reason)


class call(Times):
    """Measure an exchange while the block serves it."""

    __slots__ = (
        "_exchange",
        "_send",
        "_started",
        "_token",
        "bytes_in",
        "bytes_out",
        "caller",
        "is_whole",
        "method",
        "plan",
        "status",
        "tool",
        "verdict",
    )

    def __init__(self, exchange: Exchange) -> None:
        self.upstream = self.user = 0.0
        self._exchange = exchange
        self.caller: Caller | None = None
        self.plan: Plan | None = None
        self.method = exchange.method if exchange.method in ("GET", "DELETE") else ""
        self.tool, self.verdict, self.is_whole = "", SILENT, False
        self.status = self.bytes_in = self.bytes_out = 0

    def __enter__(self) -> "call":
        self._started = perf_counter()
        self._send: Send = self._exchange.send_through(self.sent)
        self._token: Token[Times | None] = stopwatch.current.set(self)
        catalog.calls_in_flight.rise()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopwatch.current.reset(self._token)
        # Nothing of a call may be left in a circle: it would be kept until garbage is collected.
        del self._token
        self._exchange.send_through(self._send)
        catalog.calls_in_flight.fall()
        self._end(perf_counter() - self._started)

    def sent(self, event: Any) -> Awaitable[None]:
        """Look at what goes to the caller, on its way."""
        if event["type"] == "http.response.start":
            self.status = event["status"]
        else:
            chunk = event["body"]
            self.bytes_out += len(chunk)
            self.is_whole = not event["more_body"]
            if self.verdict is SILENT:
                self.verdict = verdicts.of(chunk)
        return self._send(event)

    @property
    def outcome(self) -> Outcome:
        """Return what came of the request; before its end, what would come if it ended now."""
        code, reason = self.verdict.code, self.verdict.reason
        if reason in CONSENT_REASONS:
            return Outcome.CONSENT
        if reason == Reason.UpstreamUnavailable.name:
            return Outcome.UNAVAILABLE
        if reason in REASONS:
            return Outcome.REFUSED
        if code or self.status >= 400:
            return Outcome.ERROR if self.upstream else Outcome.FAILED if self.status >= 500 else Outcome.REFUSED
        if self.verdict.is_tool_error:
            return Outcome.TOOL_ERROR
        # Whoever listens hangs up at some time; that is how a stream ends.
        is_over = self.is_whole or (self.method in LISTENING and self.status)
        return Outcome.ANSWERED if is_over else Outcome.CUT_OFF

    def _end(self, seconds: float) -> None:
        outcome, plan, caller = self.outcome, self.plan, self.caller
        reason = self.verdict.reason
        ledger.note(
            FinishedCall(
                ledger.now(),
                self._exchange.request_id,
                plan.server_uid if plan else None,
                plan.name if plan else "",
                caller.user_id if caller else 0,
                caller.username if caller else "",
                self.method,
                self.tool,
                outcome.value,
                reason if reason in REASONS else "",
                _rung(self.verdict) if outcome is Outcome.CONSENT else "",
                self.status,
                seconds * 1000,
                self.upstream * 1000,
                max(seconds - self.upstream - self.user, 0.0) * 1000,
                self.bytes_in,
                self.bytes_out,
                self.method in LISTENING,
            )
        )


def known(caller: Caller, plan: Plan) -> None:
    """Say who calls which server."""
    measured = stopwatch.current.get()
    if isinstance(measured, call):
        measured.caller, measured.plan = caller, plan


def message(message: Message, size: int) -> None:
    """Say what is asked, and how many bytes said it."""
    measured = stopwatch.current.get()
    if isinstance(measured, call):
        measured.method = readable(message.method or "response", METHOD_LENGTH)
        measured.bytes_in = size
        if message.method in NAMED:
            measured.tool = readable(message.name or "", TOOL_LENGTH)


def _rung(verdict: Verdict) -> str:
    if verdict.code:
        return "url_elicitation_required" if verdict.code == URL_ELICITATION_REQUIRED else "error"
    return "input_required" if verdict.is_question else "tool_result"


def readable(text: str, length: int) -> str:
    """Return a name that a caller chose as it may be stored and shown: one line, printable, not too long."""
    return _printable(text if len(text) <= length else f"{text[: length - 1]}…")


@lru_cache(maxsize=4096)
def _printable(cut: str) -> str:
    return cut if cut.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in cut)
