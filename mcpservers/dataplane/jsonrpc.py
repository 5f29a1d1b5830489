"""Message shapes and error codes of JSON-RPC and MCP; the one table from our errors to theirs (contract §6)."""

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mcp_types import PROTOCOL_VERSION_META_KEY
from mcp_types.jsonrpc import HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR
from mcp_types.jsonrpc import UNSUPPORTED_PROTOCOL_VERSION as UNSUPPORTED_VERSION

from mcpservers.dataplane import unambiguous
from mcpservers.dataplane.unambiguous import ENVELOPE, Ambiguous

__all__ = [
    "HEADER_MISMATCH",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "PARSE_ERROR",
    "UNSUPPORTED_VERSION",
]

SESSION_NOT_FOUND = -32001
NAMING = frozenset({"name", "uri", "arguments", "_meta"})
NAME_PARAMETER = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
Id = str | int | float | None


class Reason(Enum):
    """Why the gateway answers a call itself: name, code, HTTP status, gRPC-like status."""

    OAuthConnectionRequired = (-32010, 200, "FAILED_PRECONDITION")
    OAuthTokenExpired = (-32011, 200, "FAILED_PRECONDITION")
    scope_upgrade_required = (-32012, 200, "FAILED_PRECONDITION")
    OAuthProviderNotFound = (-32013, 200, "FAILED_PRECONDITION")
    ServerDisabled = (-32014, 200, "FAILED_PRECONDITION")
    UpstreamUnavailable = (-32015, 502, "UNAVAILABLE")
    SecretNotFound = (-32016, 200, "FAILED_PRECONDITION")
    UpstreamCredentialMissing = (-32017, 200, "FAILED_PRECONDITION")
    RateLimited = (-32019, 429, "RESOURCE_EXHAUSTED")
    ToolHeldForReview = (-32018, 200, "FAILED_PRECONDITION")

    @property
    def code(self) -> int:
        """Return the JSON-RPC error code."""
        return self.value[0]

    @property
    def http_status(self) -> int:
        """Return the HTTP status of the answer."""
        return self.value[1]

    @property
    def status(self) -> str:
        """Return what stands in `error.data.status`."""
        return self.value[2]


NEEDS_CONSENT = frozenset({Reason.OAuthConnectionRequired, Reason.OAuthTokenExpired, Reason.scope_upgrade_required})


class Failure(Exception):
    """A call that the gateway ends itself, with everything `error.data` needs.

    `http_status` replaces the one of `reason` where the contract allows two (502, 504). `retry_after_seconds` says when
    the same call may work.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        detail: str = "",
        scopes: tuple[str, ...] = (),
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason, self.message, self.detail, self.scopes = reason, message, detail, scopes
        self.http_status = http_status or reason.http_status
        self.retry_after_seconds = retry_after_seconds


class MalformedMessage(Exception):
    """The body is not one JSON-RPC message; `code` is JSON-RPC's."""

    def __init__(self, code: int, message: str, id: Id = None) -> None:
        super().__init__(message)
        self.code, self.message, self.id = code, message, id


@dataclass(slots=True)
class Message:
    """One JSON-RPC message: a request (`method` and `id`), a notification (no `id`) or a response (no `method`)."""

    method: str
    id: Id
    has_id: bool
    params: dict[str, Any] = field(repr=False)
    answer: Any = field(default=None, repr=False)

    @property
    def is_request(self) -> bool:
        """Tell whether an answer is owed."""
        return bool(self.method) and self.has_id

    @property
    def meta(self) -> dict[str, Any]:
        """Return what stands beside the parameters; {} also for what is no object."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def is_modern(self) -> bool:
        """Tell whether it names its protocol revision itself, as 2026-07-28 does; no session then."""
        meta = self.params.get("_meta")
        return isinstance(meta, dict) and PROTOCOL_VERSION_META_KEY in meta

    def encoded(self) -> bytes:
        """Return the request's bytes after its params were changed."""
        body = {"jsonrpc": "2.0", "id": self.id, "method": self.method, "params": self.params}
        return json.dumps(body, separators=(",", ":")).encode()

    @property
    def name(self) -> str | None:
        """Return the tool, prompt or resource that the request names."""
        value = self.params.get(NAME_PARAMETER.get(self.method, ""))
        return value if isinstance(value, str) else None


def read(body: bytes) -> Message:
    """Read one message. Raises MalformedMessage for anything else: no JSON, a batch, a wrong envelope."""
    try:
        decoded = unambiguous.read(body)
    except Ambiguous as exc:
        raise MalformedMessage(INVALID_REQUEST, str(exc)) from None
    except (ValueError, RecursionError):
        raise MalformedMessage(PARSE_ERROR, "The body is not JSON.") from None
    if isinstance(decoded, list):
        raise MalformedMessage(INVALID_REQUEST, "Send one JSON-RPC message per request, not a batch.")
    if not isinstance(decoded, dict) or decoded.get("jsonrpc") != "2.0":
        raise MalformedMessage(INVALID_REQUEST, 'The body is not a JSON-RPC 2.0 message ("jsonrpc": "2.0").')
    if "id" in decoded and decoded["id"] is None and "method" in decoded:
        raise MalformedMessage(INVALID_REQUEST, "The id must be a string or a number.")
    id, method, params = decoded.get("id"), decoded.get("method", ""), decoded.get("params", {})
    if isinstance(id, bool) or not isinstance(id, str | int | float | None):
        raise MalformedMessage(INVALID_REQUEST, "The id must be a string or a number.")
    if not isinstance(method, str) or not isinstance(params, dict | None):
        raise MalformedMessage(INVALID_REQUEST, "method must be a string and params an object.", id)
    if not method and not ({"result", "error"} & decoded.keys()):
        raise MalformedMessage(INVALID_REQUEST, "The message has no method.", id)
    _refuse_two_readings(decoded, method, params or {}, id)
    return Message(method=method, id=id, has_id="id" in decoded, params=params or {}, answer=decoded.get("result"))


def _refuse_two_readings(envelope: dict[str, Any], method: str, params: dict[str, Any], id: Id) -> None:
    """See to it that the upstream cannot find another method or tool in the message than is judged here."""
    try:
        unambiguous.refuse_lookalikes(envelope.keys(), ENVELOPE)
        if method in NAME_PARAMETER:
            unambiguous.refuse_lookalikes(params.keys(), NAMING)
    except Ambiguous as exc:
        raise MalformedMessage(INVALID_REQUEST, str(exc), id) from None
    if method == "tools/call" and not isinstance(params.get("name"), str):
        raise MalformedMessage(INVALID_PARAMS, "params.name must be a string: the tool to call.", id)


def result(id: Id, value: dict[str, Any]) -> dict[str, Any]:
    """Return a response."""
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: Id, code: int, message: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an error response."""
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return {"jsonrpc": "2.0", "id": id, "error": body}
