"""From an auth mode to one header, through `connections.tokens` and `vault.secrets`, and no other way."""

import time
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from connections import activity, tokens
from connections.database import run_in_thread
from connections.errors import (
    ConnectionRequired,
    ProviderNotFound,
    RefreshUnavailable,
    ScopeUpgradeRequired,
    SecretMissing,
    TokenError,
    TokenExpired,
)
from mcpservers.dataplane import service_credentials
from mcpservers.dataplane.jsonrpc import Failure, Reason
from mcpservers.dataplane.memory import Memory
from mcpservers.dataplane.routing import Caller, Plan
from mcpservers.dataplane.service_credentials import is_over
from mcpservers.validation import HEADER_VALUE, header_problem
from vault import secrets
from vault.models import NOBODY

# Opened tokens and keys live in memory for seconds only (contract §8).
REMEMBER_SECONDS = 5.0
RENEW_AGAIN_SECONDS = 60.0
KEPT = 10_000


@dataclass(slots=True)
class Credential:
    """The header to add, if any. `generation` names the user's token, so that a refused one can be renewed."""

    name: str = ""
    value: str = field(default="", repr=False)
    generation: int | None = None


NONE = Credential()
_header_problem = lru_cache(maxsize=1024)(header_problem)
_opened: Memory[tokens.UsableToken] = Memory(seconds=REMEMBER_SECONDS)
_renewed_for_401: dict[tuple[int, UUID | None], tuple[int | None, float]] = {}
_keys: Memory[str] = Memory(seconds=REMEMBER_SECONDS)


async def resolve(plan: Plan, caller: Caller, *, rejected: Credential | None = None) -> Credential:
    """Return the credential of a call; after an upstream 401, a newer one than `rejected`. Raises Failure."""
    if plan.mode == "none":
        return NONE
    if plan.mode == "static_key":
        return header_of(plan, await _key(plan), None)
    if plan.mode == "user_oauth":
        token = await _user_token(plan, caller, rejected)
        return header_of(plan, token.access_token, token.generation)
    if plan.mode == "service_account_oauth":
        shared = await service_credentials.token_of(plan, rejected.generation if rejected else None)
        return header_of(plan, shared.access_token, shared.generation)
    raise Failure(Reason.UpstreamUnavailable, f"The auth mode {plan.mode} is not known.", "auth_mode_not_supported")


def may_renew(plan: Plan, caller: Caller, rejected: Credential) -> bool:
    """Tell whether a refused token should be renewed: ours to renew, and not one that was renewed for a 401 just now.

    An upstream that refuses every token would otherwise cost one refresh a call (B13).
    """
    renewed = _renewed_for_401.get(_whose(plan, caller))
    is_fresh = renewed is not None and renewed[1] > time.monotonic() - RENEW_AGAIN_SECONDS
    return rejected.generation is not None and not (is_fresh and renewed and renewed[0] == rejected.generation)


async def renew(plan: Plan, caller: Caller, rejected: Credential) -> Credential:
    """Return a newer credential than the one that the upstream has just refused. Raises Failure."""
    credential = await resolve(plan, caller, rejected=rejected)
    _renewed_for_401[_whose(plan, caller)] = (credential.generation, time.monotonic())
    while len(_renewed_for_401) > KEPT:
        _renewed_for_401.pop(next(iter(_renewed_for_401)))
    return credential


def _whose(plan: Plan, caller: Caller) -> tuple[int, UUID | None]:
    """Return what a token is kept under: a user and provider, or nobody and the server of a service account."""
    return (caller.user_id, plan.provider_uid) if plan.mode == "user_oauth" else (NOBODY, plan.server_uid)


async def _user_token(plan: Plan, caller: Caller, rejected: Credential | None) -> tokens.UsableToken:
    provider_uid = plan.provider_uid
    if provider_uid is None:
        raise Failure(Reason.OAuthProviderNotFound, "OAuth provider not found", "gone")
    key = (caller.user_id, plan.provider_key, plan.required_scopes)
    kept = _opened.peek(key)
    if rejected is not None or (kept is not None and is_over(kept.usable_until)):
        _opened.forget(key)
    elif kept is not None:
        activity.entry_used(kept.entry_pk)
        return kept
    try:
        token = await _opened.get(
            key,
            lambda: tokens.ausable_token(
                user_id=caller.user_id,
                provider_uid=provider_uid,
                scopes=plan.required_scopes,
                rejected_generation=rejected.generation if rejected else None,
            ),
        )
    except TokenError as exc:
        raise _failure(plan, exc) from None
    activity.entry_used(token.entry_pk)
    return token


async def _key(plan: Plan) -> str:
    def read() -> str:
        return secrets.read(plan.key_ref, purpose=f"mcp-server {plan.name}")

    place = (plan.key, plan.key_ref)
    try:
        return _keys.peek(place) or await _keys.get(place, lambda: run_in_thread(read))
    except secrets.SecretNotFound as exc:
        raise Failure(Reason.SecretNotFound, str(exc), exc.name) from None


def header_of(plan: Plan, value: str, generation: int | None) -> Credential:
    """Return the header that carries `value`; checked again at use: what is stored must not add headers (D03)."""
    if problem := _header_problem(plan.header_name, plan.header_prefix):
        raise Failure(
            Reason.UpstreamUnavailable, f"The server's credential header is not usable: {problem}", "invalid_header"
        )
    if not HEADER_VALUE.match(value):
        raise Failure(
            Reason.UpstreamUnavailable, "The credential has characters that no header can carry.", "invalid_credential"
        )
    return Credential(plan.header_name, f"{plan.header_prefix} {value}" if plan.header_prefix else value, generation)


def _failure(plan: Plan, error: TokenError) -> Failure:
    """Translate an error of the token's door; the one table between the two floors."""
    name, scopes = plan.provider_label, plan.required_scopes
    match error:
        case ConnectionRequired():
            return Failure(
                Reason.OAuthConnectionRequired, f"Connect your {name} account to use {plan.name}.", scopes=scopes
            )
        case TokenExpired():
            text = f"Your {name} connection has ended ({error.detail}). Reconnect to use {plan.name}."
            return Failure(Reason.OAuthTokenExpired, text, error.detail, scopes)
        case ScopeUpgradeRequired():
            missing = ", ".join(error.missing)
            text = f"{plan.name} needs more than your {name} connection grants: {missing}. Reconnect to grant it."
            return Failure(Reason.scope_upgrade_required, text, f"missing: {missing}", scopes)
        case ProviderNotFound():
            return Failure(Reason.OAuthProviderNotFound, f"OAuth provider not found ({name} is {error.why})", error.why)
        case SecretMissing():
            return Failure(Reason.SecretNotFound, f"Secret {error.secret_name} not found", error.secret_name)
        case RefreshUnavailable():
            text = f"{name} did not renew your sign-in just now ({error.why}). Try again later."
            return Failure(
                Reason.UpstreamUnavailable, text, error.why, http_status=504 if error.why == "timeout" else 502
            )
    raise error
