"""An upstream that answers 403 because the token's scopes do not suffice (RFC 6750 §3.1, `insufficient_scope`).

Its challenge is data: of it only the names of scopes are taken, to tell the caller what is missing. The link asks for
what the admins said that the server needs, never for what an upstream asks for by itself (contract §7).
"""

import re
from collections.abc import Iterable

from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.passthrough import NAME
from mcpservers.dataplane.routing import Plan

DETAIL = "insufficient_scope"
MOST_SCOPES, LONGEST_SCOPE = 20, 128
_ERROR = re.compile(r'\berror\s*=\s*"?insufficient_scope\b', re.IGNORECASE)
_SCOPES = re.compile(r'(?<![\w-])scope\s*=\s*(?:"([^"]*)"|([^\s",]+))', re.IGNORECASE)
# RFC 6749 §3.3
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")


def needed(challenges: Iterable[str], plan: Plan) -> Failure | None:
    """Return what the caller is told of a 403 with these `WWW-Authenticate`; None where it is about no scope.

    Only of a credential that is the caller's own: the gateway's is the admins' matter, and the answer passes.
    """
    text = ", ".join(challenges)
    if plan.mode not in ("user_oauth", "token_passthrough") or not _ERROR.search(text):
        return None
    scopes = _named(text) or plan.required_scopes
    missing = ", ".join(scopes) or "more scopes"
    if plan.mode == "token_passthrough":
        said = f"{plan.name} needs more than the token that you sent in {NAME} grants: {missing}. Send one that has it."
        return Failure(Reason.UpstreamCredentialMissing, said, DETAIL, scopes)
    said = (
        f"{plan.name} needs more than your {plan.provider_label} connection grants: {missing}. Reconnect to grant it; "
        f"if you are not asked for it there, ask an admin to add it to what {plan.name} requires."
    )
    return Failure(Reason.scope_upgrade_required, said, DETAIL, scopes)


def _named(challenge: str) -> tuple[str, ...]:
    found = _SCOPES.search(challenge)
    named = (found.group(1) or found.group(2) or "").split() if found else []
    return tuple(scope for scope in named if len(scope) <= LONGEST_SCOPE and _SCOPE.match(scope))[:MOST_SCOPES]
