"""The few ways in which providers break the RFCs, each with the sentence that it breaks.

Which provider has which is data of its preset (`RegisteredClient.quirks`), and so are the parameters it wants in
addition. A provider without a preset follows the RFCs. Names of quirks that only inform, such as `no_expires_in`,
mean nothing here: what they describe is read from anyone.
"""

from collections.abc import Mapping
from typing import Any

# RFC 6749 §3.1: "The authorization server MUST ignore unrecognized request parameters."
PKCE_OFF = "pkce_off"
# RFC 6749 §4.1.3, and RFC 7009 §2.1 alike: parameters go "using the 'application/x-www-form-urlencoded' format".
JSON_TOKEN_REQUEST = "json_token_request"  # noqa: S105 - the name of a quirk
# RFC 6749 §3.3: "The authorization and token endpoints allow the client to specify the scope of the access request".
NO_SCOPE_PARAM = "no_scope_param"
# RFC 6749 §5.2: "The authorization server responds with an HTTP 400 (Bad Request) status code".
OK_FLAG = "ok_flag"
# RFC 6749 §5.2: "error REQUIRED. A single ASCII error code".
ERROR_IN_STATUS = "error_in_status"
# RFC 6749 §5.1: "serializing each parameter at the highest structure level".
NESTED_USER_TOKEN = "user_token_under_authed_user"  # noqa: S105 - the name of a quirk
# RFC 6749 §3.3 knows no scope that includes another.
GITHUB_SCOPES = "github_scopes"

UNRECOGNISED = "unrecognised"

# RFC 6749 §5.2 has one word for each of these.
_DIALECTS = {
    # GitHub
    "bad_verification_code": "invalid_grant",
    "bad_refresh_token": "invalid_grant",
    "incorrect_client_credentials": "invalid_client",
    # Slack
    "invalid_code": "invalid_grant",
    "code_already_used": "invalid_grant",
    "invalid_refresh_token": "invalid_grant",
    "token_revoked": "invalid_grant",
    "bad_client_secret": "invalid_client",
    "invalid_client_id": "invalid_client",
    "bad_redirect_uri": "redirect_uri_mismatch",
    # HubSpot
    "bad_auth_code": "invalid_grant",
    "bad_client_id": "invalid_client",
    # Zoho
    "invalid_client_secret": "invalid_client",
    # Microsoft, where OpenID Connect has it for the authorization endpoint only
    "interaction_required": "invalid_grant",
}
# Atlassian: "unauthorized_client" is also what a wrong client gets, so only these very words count.
_DESCRIBED = {("unauthorized_client", "refresh_token is invalid"): "invalid_grant"}
_SLACK_NOT_NOW = frozenset(["internal_error", "fatal_error", "service_unavailable", "request_timeout"])
_GITHUB_INCLUDES = {
    "repo": ["repo:status", "repo_deployment", "public_repo", "repo:invite", "security_events"],
    "user": ["read:user", "user:email", "user:follow"],
    "admin:org": ["write:org", "read:org"],
    "write:org": ["read:org"],
    "admin:public_key": ["write:public_key", "read:public_key"],
    "write:public_key": ["read:public_key"],
    "admin:repo_hook": ["write:repo_hook", "read:repo_hook"],
    "write:repo_hook": ["read:repo_hook"],
    "admin:gpg_key": ["write:gpg_key", "read:gpg_key"],
    "write:gpg_key": ["read:gpg_key"],
    "write:packages": ["read:packages"],
    "project": ["read:project"],
}


def standard_error(error: str) -> str:
    """Return RFC 6749's word for a provider's own."""
    return _DIALECTS.get(error, error)


def error_in(answer: Mapping[str, Any], quirks: frozenset[str]) -> object:
    """Return what an answer says went wrong, wherever this provider says it; None when nothing did."""
    error = answer.get("error")
    if isinstance(error, str):
        error = _DESCRIBED.get((error, str(answer.get("error_description"))), error)
    status = str(answer.get("status")).lower()
    if not error and ERROR_IN_STATUS in quirks and status.startswith("bad_"):
        error = status
    if OK_FLAG in quirks and answer.get("ok") is not True:
        return "temporarily_unavailable" if error in _SLACK_NOT_NOW else error or UNRECOGNISED
    return error or None


def unnested(answer: dict[str, Any], quirks: frozenset[str]) -> dict[str, Any]:
    """Return the fields of the user's token, which Slack puts a level deeper and calls a `user` token.

    A `bot` token at the highest level is the app's and never the user's: it keeps its type, and is refused.
    """
    if NESTED_USER_TOKEN not in quirks:
        return answer
    user = answer.get("authed_user")
    fields = user if isinstance(user, dict) and user.get("access_token") else answer
    is_users = fields.get("token_type") == "user"
    return {**fields, "token_type": "bearer"} if is_users else fields


def included_scopes(granted: list[str], quirks: frozenset[str]) -> set[str]:
    """Return the scopes that these include without naming them: GitHub names the widest ones only."""
    if GITHUB_SCOPES not in quirks:
        return set()
    return {scope for wide in granted for scope in _GITHUB_INCLUDES.get(wide, ())}
