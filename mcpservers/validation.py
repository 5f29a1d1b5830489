"""Check an MCP server as a whole; every finding names its field, the rule and the way out.

Rights (attach, use of a secret) are not checked here but in `mcpservers.authoring`: they depend on who asks.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError

from mcpservers import service_account
from providers.validation import scope_findings, url_finding
from vault.names import valid_name, valid_ref

if TYPE_CHECKING:
    from mcpservers.models import MCPServer

MODES = ("none", "static_key", "token_passthrough", "service_account_oauth", "user_oauth")
MEMBERS = {
    "none": {"mode"},
    "static_key": {"mode", "key_ref", "header_name", "header_prefix"},
    "token_passthrough": {"mode"},
    "service_account_oauth": {"mode", "provider_name", "scopes", *service_account.OWN_CLIENT},
    "user_oauth": {"mode", "provider_name", "required_scopes", "token_injection"},
}
HTTPS_RULE = "remote_mcp.user_oauth_requires_https"
HEADER_NAME = re.compile(r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
HEADER_VALUE = re.compile(r"\A[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
RESERVED_HEADERS = frozenset(
    [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "cookie",
        "set-cookie",
        "proxy-authorization",
        "proxy-authenticate",
        "proxy-connection",
        "forwarded",
        "via",
        "accept",
        "accept-encoding",
        "last-event-id",
        "origin",
        "referer",
        "user-agent",
        "x-upstream-authorization",
    ]
)
RESERVED_PREFIXES = ("mcp-", "x-forwarded-", "proxy-", "sec-")


def check(server: "MCPServer") -> None:
    """Raise ValidationError with everything that is wrong, by field."""
    findings: dict[str, list[ValidationError]] = {}
    for field, finding in [*_kind(server), *auth_findings(server.auth), *_address(server)]:
        findings.setdefault(field, []).append(finding)
    if findings:
        raise ValidationError(findings)


Finding = tuple[str, ValidationError]


def _finding(field: str, code: str, text: str) -> Finding:
    return field, ValidationError(text, code=code)


def _kind(server: "MCPServer") -> list[Finding]:
    if server.kind == "managed":
        return [_finding("kind", "invalid", "Managed servers do not exist yet; register a remote one.")]
    if server.managed_type or server.config:
        return [
            _finding("managed_type" if server.managed_type else "config", "invalid", "Only managed servers have this.")
        ]
    return []


def _address(server: "MCPServer") -> list[Finding]:
    if not server.url:
        return [_finding("url", "required", "Give the server's MCP endpoint, for example https://mcp.example.com/mcp.")]
    auth = server.auth if isinstance(server.auth, dict) else {}
    if auth.get("mode") == "user_oauth" and not server.url.lower().startswith("https://"):
        text = f"HTTPS required ({HTTPS_RULE}): a user's token is only ever sent over https. Use an https:// address."
        return [_finding("url", "https_required", text)]
    finding = url_finding(server.url)
    return [("url", finding)] if finding else []


def auth_findings(auth: Any) -> list[Finding]:
    """Return what is wrong with an `auth` object."""
    if not isinstance(auth, dict) or not isinstance(auth.get("mode"), str):
        return [_finding("auth", "invalid", 'Give an object with a mode, for example {"mode": "none"}.')]
    mode = auth["mode"]
    if mode not in MODES:
        return [_finding("auth", "invalid", f"There is no mode {mode[:40]!r}. Use one of {', '.join(MODES)}.")]
    unknown = sorted(set(auth) - MEMBERS[mode])
    if unknown:
        return [_finding("auth", "invalid", f"The mode {mode} has no {unknown[0][:40]!r}.")]
    return _MODE_CHECKS[mode](auth)


def _none(_: dict[str, Any]) -> list[Finding]:
    return []


def _static_key(auth: dict[str, Any]) -> list[Finding]:
    found = _matches(auth.get("key_ref"), valid_ref, "key_ref", "invalid_ref")
    return found + _header(auth, "auth")


def _user_oauth(auth: dict[str, Any]) -> list[Finding]:
    found = _matches(auth.get("provider_name"), valid_name, "provider_name", "oauth_provider_not_found")
    for _field, text in scope_findings(auth.get("required_scopes", [])):
        found.append(_finding("auth", "invalid_scopes", f"required_scopes: {text}"))
    injection = auth.get("token_injection", {})
    if not isinstance(injection, dict) or set(injection) - {"header_name", "header_prefix"}:
        return [*found, _finding("auth", "invalid", "token_injection takes header_name and header_prefix only.")]
    return found + _header(injection, "auth")


def _service_account(auth: dict[str, Any]) -> list[Finding]:
    found = service_account.findings(auth)
    return [_finding("auth", str(error.code), f"{member}: {error.messages[0]}") for member, error in found]


_MODE_CHECKS: dict[str, Callable[[dict[str, Any]], list[Finding]]] = {
    "none": _none,
    "static_key": _static_key,
    "token_passthrough": _none,
    "service_account_oauth": _service_account,
    "user_oauth": _user_oauth,
}


def _matches(value: Any, rule: Any, member: str, code: str) -> list[Finding]:
    try:
        rule(value if isinstance(value, str) else "")
    except ValidationError as exc:
        return [_finding("auth", code, f"{member}: {exc.messages[0]}")]
    return []


def _header(settings: dict[str, Any], field: str) -> list[Finding]:
    name, prefix = settings.get("header_name", "Authorization"), settings.get("header_prefix", "Bearer")
    sentence = header_problem(name, prefix)
    return [_finding(field, "invalid_header", sentence)] if sentence else []


def header_problem(name: object, prefix: object) -> str:
    """Return what is wrong with a credential header's name or prefix, or "" (D03, D04)."""
    if not isinstance(name, str) or not HEADER_NAME.match(name):
        return "header_name must be an HTTP header name: letters, digits and hyphens, at most 64."
    read_as = name.lower().replace("_", "-")  # as some servers do (RFC 3875 §4.1.18)
    if read_as in RESERVED_HEADERS or read_as.startswith(RESERVED_PREFIXES):
        return (
            f"header_name {name} belongs to the protocol and cannot carry a credential. Use Authorization or X-Api-Key."
        )
    if not isinstance(prefix, str) or len(prefix) > 64 or (prefix and not HEADER_VALUE.match(prefix)):
        return "header_prefix must be printable ASCII without a space at either end, at most 64 characters, or empty."
    return ""
