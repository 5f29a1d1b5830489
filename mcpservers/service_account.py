"""The members of `auth` in the mode `service_account_oauth`: a client of the server's own or a provider's.

`resource` is optional beside a client of its own (RFC 8707); with `provider_name` the provider's is sent.
"""

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError

from connections.service_accounts import ServiceAccount
from providers.models import AuthMethod
from providers.validation import RESOURCE, scope_findings, url_finding
from vault.names import valid_name, valid_ref

if TYPE_CHECKING:
    from mcpservers.models import MCPServer

Finding = tuple[str, ValidationError]
MODE = "service_account_oauth"
OWN_CLIENT = ("client_id", "client_secret_ref", "token_endpoint", "token_endpoint_auth_method", "resource")
MAX_LENGTHS = {"client_id": 512, "token_endpoint": 2000, "resource": 2000}
DEFAULTS: dict[str, Any] = {"scopes": [], "token_endpoint_auth_method": AuthMethod.BASIC.value, "resource": ""}


def account_of(server: "MCPServer") -> ServiceAccount | None:
    """Return what the server authenticates as; None in any other mode."""
    if server.mode != MODE:
        return None
    auth = {**DEFAULTS, **server.auth}
    return ServiceAccount(
        server_uid=server.uid,
        server_name=server.name,
        scopes=tuple(auth["scopes"]),
        is_provider_named="provider_name" in auth,
        provider_name=auth.get("provider_name", ""),
        provider_uid=server.provider_uid,
        client_id=auth.get("client_id", ""),
        client_secret_ref=auth.get("client_secret_ref", ""),
        token_endpoint=auth.get("token_endpoint", ""),
        auth_method=auth["token_endpoint_auth_method"],
        resource=auth["resource"],
    )


def findings(auth: dict[str, Any]) -> list[Finding]:
    """Return everything that is wrong with the members of `auth`, each with its member."""
    found = [_finding("scopes", "invalid_scopes", text) for _, text in scope_findings(auth.get("scopes", []))]
    if "provider_name" in auth:
        return found + _provider(auth)
    return found + _client(auth)


def _provider(auth: dict[str, Any]) -> list[Finding]:
    if both := [member for member in OWN_CLIENT if member in auth]:
        text = "Leave this out, or the provider: the provider's own client, endpoint and resource are used."
        return [_finding(member, "invalid", text) for member in both]
    return _matches(auth["provider_name"], valid_name, "provider_name", "oauth_provider_not_found")


def _client(auth: dict[str, Any]) -> list[Finding]:
    texts = {member: auth.get(member, "") for member in (*MAX_LENGTHS, "token_endpoint_auth_method")}
    if odd := [member for member, value in texts.items() if not isinstance(value, str)]:
        return [_finding(member, "invalid", "This must be a string.") for member in odd]
    if long := [member for member, most in MAX_LENGTHS.items() if len(texts[member]) > most]:
        text = "This is too long: give {} characters at most."
        return [_finding(member, "max_length", text.format(MAX_LENGTHS[member])) for member in long]
    return [*_client_id(texts["client_id"]), *_secret(auth), *_addresses(texts)]


def _client_id(client_id: str) -> list[Finding]:
    if not client_id:
        text = "Name the client that is registered for this server, or choose a provider (provider_name) instead."
        return [_finding("client_id", "required", text)]
    if not client_id.isprintable():
        return [_finding("client_id", "invalid", "The client id has a character that cannot be printed.")]
    return []


def _secret(auth: dict[str, Any]) -> list[Finding]:
    method = auth.get("token_endpoint_auth_method", AuthMethod.BASIC)
    if method not in AuthMethod.values:
        text = f"Use one of {', '.join(AuthMethod.values)}."
        return [_finding("token_endpoint_auth_method", "invalid", text)]
    if method != AuthMethod.NONE:
        return _matches(auth.get("client_secret_ref"), valid_ref, "client_secret_ref", "invalid_ref")
    if auth.get("client_secret_ref"):
        return [_finding("client_secret_ref", "invalid", "The auth method none sends no secret. Leave it out.")]
    return []


def _addresses(texts: dict[str, str]) -> list[Finding]:
    found: list[Finding] = []
    if not texts["token_endpoint"]:
        text = "Give the address where tokens are issued, for example https://auth.example.com/token."
        found.append(_finding("token_endpoint", "required", text))
    elif finding := url_finding(texts["token_endpoint"]):
        found.append(("token_endpoint", finding))
    if texts["resource"] and not RESOURCE.match(texts["resource"]):
        found.append(_finding("resource", "invalid", "Give an absolute URI without a fragment (RFC 8707 §2)."))
    return found


def _matches(value: object, rule: Any, member: str, code: str) -> list[Finding]:
    try:
        rule(value if isinstance(value, str) else "")
    except ValidationError as exc:
        return [_finding(member, code, exc.messages[0])]
    return []


def _finding(member: str, code: str, text: str) -> Finding:
    return member, ValidationError(text, code=code)
