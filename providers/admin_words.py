"""The words of a provider's form and page in the admin."""

from collections.abc import Mapping
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from providers.models import AuthMethod, CallbackMode, GrantType

DELIMITERS = [(" ", "Space, as in RFC 6749"), (",", "Comma"), ("+", "Plus")]
METHODS = {
    AuthMethod.BASIC: ("HTTP Basic", "Client id and secret in the Authorization header. What RFC 6749 prefers."),
    AuthMethod.POST: ("POST body", "Client id and secret as form fields, for providers that read nothing else."),
    AuthMethod.NONE: ("None", "A public client: no secret, every consent is protected by PKCE."),
}
CALLBACKS = {
    CallbackMode.PER_PROVIDER: (
        "Per provider",
        "A callback URL of its own, so answers of two providers cannot be mixed up (RFC 9700 §4.4).",
    ),
    CallbackMode.SHARED: (
        "Shared",
        "One callback URL for several providers. Safe only where the provider sends iss with its answer (RFC 9207).",
    ),
}
GRANTS = {
    GrantType.BROWSER_CONSENT: ("Browser consent", "Each user connects once, in the browser."),
    GrantType.TOKEN_EXCHANGE: ("Token exchange", "The caller's own identity token is traded for one of the provider."),
}
LABELS = {
    "client_id": "Client ID",
    "keep_idle_connections": "Keep idle connections",
    "require_pkce": "Require PKCE",
    "issuer": "Issuer",
    "userinfo_endpoint": "Userinfo endpoint",
}
HELP = {
    "name": "Lower-case letters, digits and hyphens. It is part of the callback URL and cannot change later.",
    "display_name": "What users see on their Connections page.",
    "enabled": "When off, nobody can connect and calls that need it are refused. Connections are kept.",
    "authorization_endpoint": "Where the user's browser is sent. Always https.",
    "token_endpoint": "Where the gateway trades a code or a refresh token. Always https.",
    "revocation_endpoint": "Told when a user disconnects (RFC 7009).",
    "userinfo_endpoint": "Asked which account a user connected.",
    "device_authorization_endpoint": "For sign-in with a code on another device (RFC 8628).",
    "issuer": "Compared with iss in the answer, letter for letter (RFC 9207). Check reads its metadata.",
    "resource": "Sent with every request, when the provider wants it (RFC 8707).",
    "client_id": "From the app that you registered at the provider.",
    "account_claim": "Which member of the userinfo answer names the account, for example login or email.",
    "keep_idle_connections": "Go on renewing a connection that nobody has used for VAULT_IDLE_DAYS.",
    "require_pkce": "Refuse a consent that PKCE could not protect. It is used whenever possible.",
}


def explained(choices: Mapping[Any, tuple[str, str]]) -> list[tuple[str, SafeString]]:
    """Return choices whose label is a word and, below it, a sentence."""
    line = '<span class="aigw-option">{}</span> <span class="aigw-second">{}</span>'
    return [(str(value), format_html(line, *words)) for value, words in choices.items()]
