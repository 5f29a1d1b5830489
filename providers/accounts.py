"""Which account of the provider a token belongs to: a label to show to its owner, and no more.

No decision hangs on it, and it never fails: None when the provider does not tell.
"""

import json
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from providers import answers, wire
from providers.errors import OAuthError
from providers.wire import RegisteredClient

MAX_LABEL_LENGTH = 320
USUAL_CLAIMS = ("preferred_username", "email", "login", "name", "sub")


def account_label(client: RegisteredClient, access_token: str, id_token: str | None) -> str | None:
    """Return the account's name from userinfo, or else from the ID token."""
    asserted = _id_token_claims(client, id_token)
    told = _userinfo(client, access_token)
    # OIDC Core §5.3.2: userinfo about another subject must not be used.
    if asserted.get("sub") and told.get("sub") and asserted["sub"] != told["sub"]:
        told = {}
    return _label(client, told) or _label(client, asserted)


def one_line(value: object) -> str:
    """Return a text or whole number as one printable line; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    # Cut first: a hostile value may be as long as the whole answer.
    text = str(value)[: MAX_LABEL_LENGTH * 4] if isinstance(value, str) or abs(value) < 10**40 else ""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:MAX_LABEL_LENGTH].strip()


def _label(client: RegisteredClient, claims: dict[str, Any]) -> str | None:
    names = (client.account_claim, *USUAL_CLAIMS) if client.account_claim else USUAL_CLAIMS
    return next((label for name in names if (label := one_line(claims.get(name)))), None)


def _userinfo(client: RegisteredClient, access_token: str) -> dict[str, Any]:
    if not client.userinfo_endpoint:
        return {}
    try:
        return answers.read_object(client, wire.get_with_token(client, client.userinfo_endpoint, access_token))
    except OAuthError:
        return {}


def _id_token_claims(client: RegisteredClient, id_token: str | None) -> dict[str, Any]:
    """Read an ID token for this client; its signature is TLS's business here (OIDC Core §3.1.3.7, point 6)."""
    try:
        claims = json.loads(jws.extract_compact((id_token or "").encode()).payload)
    except (JoseError, ValueError, RecursionError):
        return {}
    if not isinstance(claims, dict):
        return {}
    audience = claims.get("aud")
    is_for_us = client.client_id in (audience if isinstance(audience, list) else [audience])
    is_from_issuer = not client.issuer or claims.get("iss") == client.issuer
    return claims if is_for_us and is_from_issuer else {}
