"""The answer to a call that a missing consent ends: the error object, and the rung that carries it (contract §6).

The rungs here are the last ones: the JSON-RPC error with the link in its message, and, where the server says
so (`consent_delivery`), a `tools/call` result with `isError` and the link as text.
"""

from typing import Any

from connections import consent
from connections.database import run_in_thread
from mcpservers.dataplane import jsonrpc
from mcpservers.dataplane.jsonrpc import NEEDS_CONSENT, Failure, Message
from mcpservers.dataplane.routing import Caller, Plan
from providers.models import OAuthProvider
from vault import entries

META_KEY = "aigateway/error"


async def render(failure: Failure, message: Message, plan: Plan, caller: Caller) -> dict[str, Any]:
    """Return the JSON-RPC response that tells the caller what is wrong and, where it helps, the link."""
    link = await authorize_url(plan, caller) if failure.reason in NEEDS_CONSENT else None
    data = error_data(failure, plan, link)
    text = f"{failure.message} Open this link in a browser: {link}" if link else failure.message
    if plan.consent_delivery == "tool_result" and message.method == "tools/call" and link:
        return jsonrpc.result(message.id, tool_text(text, data, is_error=True, is_modern=message.is_modern))
    return jsonrpc.error(message.id, failure.reason.code, text, data)


def error_data(failure: Failure, plan: Plan, link: str | None) -> dict[str, Any]:
    """Return the object that every rung carries, always with the same members."""
    return {
        "status": failure.reason.status,
        "reason": failure.reason.name,
        "server": plan.name,
        "provider": plan.provider_name or None,
        "authorize_url": link,
        "scopes": list(failure.scopes),
        "detail": failure.detail or None,
    }


def tool_text(text: str, data: dict[str, Any], *, is_error: bool, is_modern: bool) -> dict[str, Any]:
    """Return a `tools/call` result that holds `text`, with the error object in its `_meta`."""
    value: dict[str, Any] = {
        "content": [{"type": "text", "text": text}],
        "isError": is_error,
        "_meta": {META_KEY: data},
    }
    return {"resultType": "complete", **value} if is_modern else value


async def authorize_url(plan: Plan, caller: Caller) -> str | None:
    """Return the link at which the caller, and nobody else, can consent; None when the provider is gone."""
    return await run_in_thread(_authorize_url, plan, caller)


def _authorize_url(plan: Plan, caller: Caller) -> str | None:
    if plan.provider_uid is None:
        return None
    provider = OAuthProvider.objects.filter(uid=plan.provider_uid, enabled=True).first()
    if provider is None:
        return None
    entry = entries.find(caller.user_id, provider.uid)
    scopes = consent.wanted_scopes(provider, server_scopes=plan.required_scopes, entry=entry)
    return consent.offer_url(user_id=caller.user_id, provider=provider, scopes=scopes, server_name=plan.name)
