"""Open a session at the upstream when it is first needed, with the caller's own initialize parameters (contract §6)."""

import json
from dataclasses import replace
from typing import Any

from mcpservers.dataplane import jsonrpc, relay
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.relay import Call
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.dataplane.sessions import Session, sessions
from mcpservers.dataplane.upstream import Answer, Interrupted

OPENING_ID = "aigateway-open"
MAX_ANSWER_BYTES = 1_000_000
ACCEPT = [(b"accept", b"application/json, text/event-stream"), (b"content-type", b"application/json")]


async def ensure_open(session: Session, plan: Plan, caller: Caller, credential: Credential) -> None:
    """Initialize at the upstream once, whoever asks first. Raises Failure."""
    if session.is_open:
        return
    async with session.opening:
        if not session.is_open:
            await _open(session, plan, caller, credential)


async def _open(session: Session, plan: Plan, caller: Caller, credential: Credential) -> None:
    request = {"jsonrpc": "2.0", "id": OPENING_ID, "method": "initialize", "params": session.initialize_params}
    async with relay.forwarded(_post(request), plan, caller, None, credential) as answer:
        if answer.status != 200:
            raise _refused(f"http_{answer.status}")
        result = await _result(answer)
        upstream_id = answer.headers.get("Mcp-Session-Id", "")
    version = result.get("protocolVersion")
    version = version if isinstance(version, str) else ""
    opened = replace(session, upstream_id=upstream_id, upstream_protocol_version=version)
    done = _post({"jsonrpc": "2.0", "method": "notifications/initialized"})
    done.headers.append((b"mcp-protocol-version", (version or session.protocol_version).encode()))
    async with relay.forwarded(done, plan, caller, opened, credential) as answer:
        if answer.status >= 400:
            raise _refused(f"http_{answer.status}")
    await sessions.opened(session, upstream_id=upstream_id, protocol_version=version)


def _post(message: dict[str, Any]) -> Call:
    return Call("POST", list(ACCEPT), json.dumps(message, separators=(",", ":")).encode())


async def _result(answer: Answer) -> dict[str, Any]:
    try:
        response = read_response(
            await answer.read(MAX_ANSWER_BYTES), answer.headers.get("Content-Type", ""), OPENING_ID
        )
    except Interrupted:
        raise _refused("no_answer") from None
    result = response.get("result")
    if not isinstance(result, dict):
        raise _refused("initialize_refused")
    return result


def read_response(body: bytes, content_type: str, id: jsonrpc.Id) -> dict[str, Any]:
    """Return the JSON-RPC response with this id out of a JSON body or an event stream; {} when it is not there."""
    for text in _events(body) if content_type.startswith("text/event-stream") else [body]:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and message.get("id") == id and ("result" in message or "error" in message):
            return message
    return {}


def _events(stream: bytes) -> list[bytes]:
    events = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")
    return [
        b"\n".join(line[5:].lstrip(b" ") for line in event.split(b"\n") if line.startswith(b"data:"))
        for event in events
    ]


def _refused(detail: str) -> Failure:
    return Failure(Reason.UpstreamUnavailable, "The MCP server did not accept the session.", detail)
