"""Check an OAuth provider as a whole; every finding names its field, the rule and the way out."""

import re
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError

from outbound import addresses
from outbound.errors import OutboundError
from providers import presets
from providers.quirks import PKCE_OFF

if TYPE_CHECKING:
    from providers.models import OAuthProvider

ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
    "userinfo_endpoint",
    "issuer",
)
SCOPE = re.compile(r"\A[\x21\x23-\x5b\x5d-\x7e]+\Z")
RESOURCE = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:[!-\"$-~]+\Z")
# What the protocol owns in an authorization request (RFC 6749 §4.1.1, RFC 7636, RFC 8707, RFC 9101, OIDC Core).
OWNED_PARAMETERS = frozenset(
    [
        "response_type",
        "response_mode",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "resource",
        "request",
        "request_uri",
        "nonce",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "code",
    ]
)
# RFC 6749 appendix A: name-char.
PARAMETER_NAME = re.compile(r"\A[A-Za-z0-9._-]+\Z")
# All of them together: they travel in a link, which a browser and a provider must still take.
MAX_SCOPES_LENGTH = MAX_PARAMETERS_LENGTH = 8000
GRANT_TYPES = ("browser_consent", "token_exchange")

Findings = dict[str, list[ValidationError]]


def check(provider: "OAuthProvider") -> None:
    """Raise ValidationError with everything that is wrong, by field."""
    findings: Findings = {}
    _preset(provider, findings)
    _endpoints(provider, findings)
    _resource(provider, findings)
    _grant_types(provider, findings)
    _client(provider, findings)
    if len(provider.scope_delimiter) != 1 or provider.scope_delimiter.isalnum():
        _add(
            findings,
            "scope_delimiter",
            "invalid",
            "Use the one character that stands between two scopes: a space or a comma.",
        )
    for name, text in scope_findings(provider.scopes, provider.scope_delimiter):
        _add(findings, name, "invalid_scopes", text)
    _authorize_params(provider, findings)
    if findings:
        raise ValidationError(findings)


def scope_findings(scopes: object, delimiter: str = " ") -> list[tuple[str, str]]:
    """Return `(field, sentence)` for everything wrong with a list of scopes (RFC 6749 §3.3)."""
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        return [("scopes", "Scopes must be a list of strings.")]
    bad = [scope for scope in scopes if not SCOPE.match(scope) or (delimiter.strip() and delimiter.strip() in scope)]
    if bad:
        return [
            ("scopes", f"{bad[0][:80]!r} is not a scope: no spaces, quotes, backslashes or the delimiter inside one.")
        ]
    if len(set(scopes)) != len(scopes):
        return [("scopes", "A scope is named twice.")]
    if sum(map(len, scopes)) > MAX_SCOPES_LENGTH:
        return [("scopes", f"These are too many scopes: give {MAX_SCOPES_LENGTH:,} characters of them at most.")]
    return []


def url_finding(url: str) -> ValidationError | None:
    """Return what is wrong with an address that the gateway would send requests to, or None."""
    try:
        addresses.check_url(url)
    except OutboundError as exc:
        return ValidationError(str(exc), code=getattr(exc, "code", "invalid"))
    return None


def _add(findings: Findings, field: str, code: str, text: str) -> None:
    findings.setdefault(field, []).append(ValidationError(text, code=code))


def _preset(provider: "OAuthProvider", findings: Findings) -> None:
    parameters = provider.preset_parameters
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        _add(findings, "preset_parameters", "invalid", 'Give an object of strings, for example {"domain": "acme.com"}.')
    # A provider outlives its preset: one that left the catalog, or asks for more by now, still lets others be edited.
    elif provider._state.adding:
        findings.update(preset_findings(provider.preset, parameters))


def preset_findings(name: str, parameters: object) -> Findings:
    """Return what is wrong with the choice of a preset and with its parameters."""
    preset = presets.get(name)
    if name and preset is None:
        text = f"There is no preset {name[:80]!r}. The list is at /api/v1/oauth-provider-presets/."
        return {"preset": [ValidationError(text, code="invalid")]}
    if preset is None:
        text = "Name the preset that these belong to, or leave them out."
        return {"preset_parameters": [ValidationError(text, code="invalid")]} if parameters else {}
    try:
        presets.fields(preset, parameters)
    except ValidationError as exc:
        return exc.error_dict
    return {}


def _endpoints(provider: "OAuthProvider", findings: Findings) -> None:
    for field in ENDPOINTS:
        url = getattr(provider, field)
        if url and (finding := url_finding(url)):
            findings.setdefault(field, []).append(finding)


def _resource(provider: "OAuthProvider", findings: Findings) -> None:
    resource = provider.resource
    if resource and not RESOURCE.match(resource):
        text = "Give an absolute URI without a fragment (RFC 8707 §2), for example https://mcp.example.com."
        _add(findings, "resource", "invalid", text)


def _grant_types(provider: "OAuthProvider", findings: Findings) -> None:
    chosen = provider.grant_types
    if not isinstance(chosen, list) or not chosen or any(grant not in GRANT_TYPES for grant in chosen):
        _add(findings, "grant_types", "invalid", f"Name one or more of {', '.join(GRANT_TYPES)}.")
    elif len(set(chosen)) != len(chosen):
        _add(findings, "grant_types", "invalid", "A grant type is named twice.")


def _client(provider: "OAuthProvider", findings: Findings) -> None:
    if provider.token_endpoint_auth_method == "none":  # noqa: S105 - the name of a method
        if provider.client_secret_ref:
            text = (
                "A public client (none) has no secret. Clear this, or choose client_secret_basic or client_secret_post."
            )
            _add(findings, "client_secret_ref", "invalid", text)
        if PKCE_OFF in presets.quirks_of(provider.preset):
            text = (
                "A public client (none) must have PKCE, and this preset's provider breaks on it. Choose "
                "client_secret_basic or client_secret_post, or another preset."
            )
            _add(findings, "token_endpoint_auth_method", "invalid", text)
    elif not provider.client_secret_ref:
        text = "Name the secret that holds the client secret, or choose the auth method none for a public client."
        _add(findings, "client_secret_ref", "required", text)
    if any(not character.isprintable() for character in provider.client_id):
        _add(findings, "client_id", "invalid", "The client id has a character that cannot be printed.")


def _authorize_params(provider: "OAuthProvider", findings: Findings) -> None:
    params = provider.authorize_params
    if not isinstance(params, dict) or not all(isinstance(value, str) for value in params.values()):
        _add(findings, "authorize_params", "invalid", 'Give an object of strings, for example {"prompt": "consent"}.')
        return
    if not all(text.isprintable() for pair in params.items() for text in pair):
        _add(findings, "authorize_params", "invalid", "A name or value has a character that cannot be printed.")
    if sum(len(name) + len(value) for name, value in params.items()) > MAX_PARAMETERS_LENGTH:
        text = f"This is too much for a link: give {MAX_PARAMETERS_LENGTH:,} characters at most."
        _add(findings, "authorize_params", "invalid", text)
    if odd := [name for name in params if not PARAMETER_NAME.match(name)]:
        text = f"{odd[0][:80]!r} is no name of a parameter. Use letters, digits, dots, hyphens and underscores."
        _add(findings, "authorize_params", "invalid", text)
    owned = sorted(name for name in params if name.lower() in OWNED_PARAMETERS)
    if owned:
        _add(findings, "authorize_params", "invalid", f"{owned[0]} is set by the protocol itself; leave it out.")
