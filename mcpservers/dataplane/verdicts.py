"""What an answer says of itself: a JSON-RPC error, a tool's `isError`, or the gateway's own reason.

Bytes that hold none of these words are not read any further. Inside a JSON string a quote is escaped, so that a text
that speaks of errors is not taken for one; what looks like one is parsed before it counts.
"""

import json
import re
from typing import Any, NamedTuple

from mcpservers.dataplane.consent_offer import META_KEY

READ_AT_MOST = 64 * 1024
_OWN = f'"{META_KEY}"'.encode()
_IS_ERROR = re.compile(rb'"isError"\s*:\s*true')


class Verdict(NamedTuple):
    """A JSON-RPC error's `code` or 0, whether a tool failed, the gateway's `reason`, whether it asks the user."""

    code: int = 0
    is_tool_error: bool = False
    reason: str = ""
    is_question: bool = False


SILENT = Verdict()


def of(chunk: bytes) -> Verdict:
    """Return what a piece of an answer says; a message that came in several pieces says nothing."""
    is_telling = b'"error"' in chunk or _OWN in chunk or (b'"isError"' in chunk and _IS_ERROR.search(chunk))
    if not is_telling or len(chunk) > READ_AT_MOST:
        return SILENT
    for line in (chunk,) if chunk[:1] == b"{" else _data(chunk):
        try:
            found = _verdict(json.loads(line))
        except (ValueError, RecursionError):
            continue
        if found is not SILENT:
            return found
    return SILENT


def _data(chunk: bytes) -> list[bytes]:
    return [line[5:] for line in chunk.splitlines() if line.startswith(b"data:")]


def _verdict(message: Any) -> Verdict:
    if not isinstance(message, dict) or "method" in message:
        return SILENT
    error, result = message.get("error"), message.get("result")
    if isinstance(error, dict):
        code = error.get("code")
        return Verdict(code if isinstance(code, int) and code else -1, reason=_reason(error.get("data")))
    if not isinstance(result, dict):
        return SILENT
    meta = result.get("_meta")
    reason = _reason(meta.get(META_KEY)) if isinstance(meta, dict) else ""
    is_tool_error = result.get("isError") is True
    if not reason and not is_tool_error:
        return SILENT
    return Verdict(0, is_tool_error, reason, result.get("resultType") == "input_required")


def _reason(data: Any) -> str:
    reason = data.get("reason") if isinstance(data, dict) else None
    return reason if isinstance(reason, str) else ""
