"""One JSON line per log event; nothing that looks like a credential gets through.

Redaction is the second line of defence (H01–H04): no code of ours logs a token, but a library's message
or a traceback's text might. Control characters stay escaped, because JSON escapes them.
"""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import structlog

from audit import context
from audit.redaction import TELLING_NAMES, redacted, redacted_name
from mcpservers.activity.finished import METHOD_LENGTH, TOOL_LENGTH, FinishedCall

TELLING_KEY = re.compile(TELLING_NAMES, re.IGNORECASE)


def json_formatter() -> logging.Formatter:
    """Return the formatter of `settings.LOGGING`."""
    return _Formatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_request,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # Names of exceptions and frames, without the local variables that may hold a token (H02).
            structlog.processors.format_exc_info,
            _redact,
            structlog.processors.JSONRenderer(default=_opaque),
        ],
    )


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Writes a record of finished calls (`mcpservers.activity.recorder`) as one line for each of them."""

    def format(self, record: logging.LogRecord) -> str:
        calls: list[FinishedCall] | None = getattr(record, "finished_calls", None)
        if calls is None:
            return super().format(record)
        return "\n".join(_call_line(call, record) for call in calls)


def _call_line(call: FinishedCall, record: logging.LogRecord) -> str:
    """Return the line of a call. The long way round would cost more than all the rest of it."""
    return _encode(
        {
            "event": "call",
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(call.ended, UTC).isoformat().replace("+00:00", "Z"),
            "request_id": call.request_id,
            "user": call.user,
            "server": call.server,
            "method": redacted_name(call.method, METHOD_LENGTH),
            "tool": redacted_name(call.tool, TOOL_LENGTH),
            "status": call.status,
            "outcome": call.outcome,
            "reason": call.reason,
            "ms": round(call.milliseconds, 3),
            "upstream_ms": round(call.upstream_milliseconds, 3),
            "bytes_in": call.bytes_in,
            "bytes_out": call.bytes_out,
        }
    )


_encode = json.JSONEncoder(check_circular=False).encode


def _add_request(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    if request_id := context.current().request_id:
        event.setdefault("request_id", request_id)
    return event


def _redact(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    redacted_event: structlog.types.EventDict = _redacted_value(event)
    return redacted_event


def _redacted_value(value: Any) -> Any:
    """Redact text wherever it lies; a value under a telling key goes altogether, whatever its shape."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {
            key: "[redacted]" if TELLING_KEY.fullmatch(str(key)) else _redacted_value(part)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted_value(part) for part in value]
    return value


def _opaque(value: object) -> str:
    return f"<{type(value).__name__}>"
