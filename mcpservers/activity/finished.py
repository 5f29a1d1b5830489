"""FinishedCall: what is known of a call at its end."""

from typing import NamedTuple
from uuid import UUID

# What a row keeps of the names that callers choose.
TOOL_LENGTH, METHOD_LENGTH = 128, 64


class FinishedCall(NamedTuple):
    """What is kept of a call. `server_uid` is None for a caller or a server that the gateway does not know.

    `rung` is how the user was asked to connect, "" if not. `own_milliseconds` are neither the server's nor the user's.
    `is_seen` says that it has its log line and is counted, though no row yet.
    """

    ended: float
    request_id: str
    server_uid: UUID | None
    server: str
    user_id: int
    user: str
    method: str
    tool: str
    outcome: str
    reason: str
    rung: str
    status: int
    milliseconds: float
    upstream_milliseconds: float
    own_milliseconds: float
    bytes_in: int
    bytes_out: int
    is_listening: bool = False
    is_seen: bool = False
