"""The caller's own upstream credential, in the auth mode `token_passthrough` (contract §6).

It comes in `X-Upstream-Authorization` and goes on as `Authorization`, as it came: nothing of it is kept. A value that
could add a header, or that holds a credential of this gateway, is refused before anything goes upstream (D01, D03).
"""

import binascii
import re
from base64 import b64decode

from clients.tokens import MARK
from mcpservers.dataplane.credentials import Credential
from mcpservers.dataplane.exchange import RawHeaders
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.validation import HEADER_VALUE

HEADER = b"x-upstream-authorization"
NAME = "X-Upstream-Authorization"
MAX_LENGTH = 16 * 1024
# RFC 6750 §2.1; a comma here would be two headers that a proxy has joined.
_BEARER = re.compile(r"bearer +[A-Za-z0-9._~+/-]+=*\Z", re.IGNORECASE)
_OURS = re.compile(rf"{MARK}[A-Za-z0-9_-]{{40}}")


def credential(raw: RawHeaders, server_name: str, callers_token: str) -> Credential:
    """Return the credential that the caller has brought. Raises Failure `UpstreamCredentialMissing`."""
    values = [value for key, value in raw if key == HEADER]
    if not values or not values[0].strip():
        text = f"{server_name} takes your own upstream token: send it in the header {NAME}."
        raise Failure(Reason.UpstreamCredentialMissing, text, "missing")
    if len(values) > 1:
        raise _refused("repeated", f"{NAME} came more than once.")
    if len(values[0]) > MAX_LENGTH:
        raise _refused("too_long", f"{NAME} is longer than {MAX_LENGTH:,} characters.")
    value = values[0].decode("latin-1").strip(" \t")
    if not HEADER_VALUE.match(value) or _is_odd_bearer(value):
        raise _refused("malformed", f"{NAME} is no Authorization value, for example Bearer and a token.")
    if _is_ours(value, callers_token):
        text = f"{NAME} holds a token of this gateway, which never goes upstream. Send the upstream's own token."
        raise _refused("gateway_token", text)
    return Credential("Authorization", value)


def rejected(server_name: str) -> Failure:
    """Return what the caller is told when the upstream answers 401: the credential was theirs, and so is the remedy."""
    text = f"{server_name} does not accept the token that you sent in {NAME}. Send a valid one."
    return Failure(Reason.UpstreamCredentialMissing, text, "upstream_rejected")


def _is_odd_bearer(value: str) -> bool:
    return value.partition(" ")[0].lower() == "bearer" and not _BEARER.match(value)


def _is_ours(value: str, callers_token: str) -> bool:
    """Tell whether a value holds the caller's token or one that looks like ours, in the clear or as Basic."""
    readable = value + _basic(value)
    return bool(_OURS.search(readable)) or bool(callers_token and callers_token in readable)


def _basic(value: str) -> str:
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(rest.strip()).decode("latin-1")
    except (binascii.Error, ValueError):
        return ""


def _refused(detail: str, text: str) -> Failure:
    return Failure(Reason.UpstreamCredentialMissing, f"{text} Nothing was sent on.", detail, http_status=400)
