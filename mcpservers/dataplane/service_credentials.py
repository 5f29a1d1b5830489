"""The token of a service account for a call: from memory for seconds, otherwise from `connections.service_tokens`."""

from datetime import datetime

from django.utils import timezone

from connections import service_tokens
from connections.errors import ProviderNotFound, RefreshUnavailable, SecretMissing, ServiceAccountRefused, TokenError
from connections.service_tokens import UsableServiceToken
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.memory import Memory
from mcpservers.dataplane.routing import Plan

# Opened tokens live in memory for seconds only (contract §8).
REMEMBER_SECONDS = 5.0
_opened: Memory[UsableServiceToken] = Memory(seconds=REMEMBER_SECONDS)


async def token_of(plan: Plan, rejected_generation: int | None) -> UsableServiceToken:
    """Return the server's token; after an upstream 401, a newer one than `rejected_generation`. Raises Failure."""
    uid = plan.server_uid
    kept = _opened.peek(uid)
    if rejected_generation is not None or (kept is not None and is_over(kept.usable_until)):
        _opened.forget(uid)
    try:
        token = await _opened.get(
            uid, lambda: service_tokens.ausable_token(uid, rejected_generation=rejected_generation)
        )
    except TokenError as exc:
        raise failure(plan, exc) from None
    service_tokens.note_used(token.pk)
    return token


def is_over(usable_until: datetime | None) -> bool:
    """Tell whether a remembered token is due. One that lapsed on its way from the provider is good for its call."""
    return usable_until is not None and usable_until <= timezone.now()


def failure(plan: Plan, error: TokenError) -> Failure:
    """Translate an error of the token's door. Nothing here is for the caller to put right."""
    match error:
        case ProviderNotFound():
            text = f"OAuth provider not found ({plan.provider_label} is {error.why})"
            return Failure(Reason.OAuthProviderNotFound, text, error.why)
        case SecretMissing():
            return Failure(Reason.SecretNotFound, f"Secret {error.secret_name} not found", error.secret_name)
        case RefreshUnavailable():
            text = f"{plan.name} cannot get a token for its service account just now ({error.why}). Try again later."
            status = 504 if error.why == "timeout" else 502
            return Failure(Reason.UpstreamUnavailable, text, error.why, http_status=status)
        case ServiceAccountRefused(why=service_tokens.UPSTREAM_REJECTED):
            text = f"{plan.name} does not accept the gateway's credential. Ask the admin of this server."
            return Failure(Reason.UpstreamUnavailable, text, "credential_rejected")
        case ServiceAccountRefused():
            text = (
                f"{plan.name} cannot sign in: the authorization server refuses its service account ({error.why}). "
                "Ask the admin of this server."
            )
            return Failure(Reason.UpstreamUnavailable, text, "credential_rejected")
    raise error
