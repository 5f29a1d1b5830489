"""Who calls, and which server they mean: an immutable plan, remembered for moments, dropped at once on a change."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from clients import rights, tokens
from connections.database import run_in_thread
from mcpservers.dataplane.memory import Memory
from mcpservers.models import MCPServer
from mcpservers.tool_policy import reading
from mcpservers.tool_policy.rules import Policy
from providers.models import OAuthProvider

REMEMBER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Caller:
    """The user that a bearer token, or a browser's session, stands for."""

    user_id: int
    username: str
    token_pk: int | None = None
    expires_at: datetime | None = None
    is_browser: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a call to one server needs to know, for one caller."""

    server_uid: UUID
    name: str
    url: str
    transport: str
    enabled: bool
    mode: str
    header_name: str
    header_prefix: str
    key_ref: str
    provider_uid: UUID | None
    provider_name: str
    provider_label: str
    required_scopes: tuple[str, ...]
    consent_delivery: str
    capabilities: dict[str, Any] = field(repr=False)
    tools: list[dict[str, Any]] = field(repr=False)
    policy: Policy | None = field(default=None, repr=False)
    # The uids as text, which is hashed once; a UUID is hashed anew for every look-up.
    key: str = field(init=False, repr=False)
    provider_key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.server_uid.hex)
        object.__setattr__(self, "provider_key", self.provider_uid.hex if self.provider_uid else "")


@dataclass(frozen=True, slots=True)
class Refused:
    """The caller may not use the server: it does not exist for them, or they may see but not use it."""

    exists: bool


_callers: Memory[Caller] = Memory(seconds=REMEMBER_SECONDS)
_plans: Memory[Plan | Refused] = Memory(seconds=REMEMBER_SECONDS)


async def caller_of(token: str) -> Caller | None:
    """Return whom an API token stands for; None when it is unknown, expired, revoked or its user inactive."""
    digest = tokens.digest(token)
    caller = _callers.peek(digest)
    if caller is None:
        try:
            caller = await _callers.get(digest, lambda: run_in_thread(_read_caller, token))
        except LookupError:
            return None
    return None if caller.expires_at and caller.expires_at <= timezone.now() else caller


async def plan_for(caller: Caller, name: str) -> Plan | Refused:
    """Return how to serve the caller's call to the server called `name`."""
    key = (caller.user_id, name)
    return _plans.peek(key) or await _plans.get(key, lambda: run_in_thread(_read_plan, caller.user_id, name))


def _read_caller(token: str) -> Caller:
    row = tokens.recognise(token)
    if row is None:
        raise LookupError
    return Caller(row.user_id, row.user.get_username(), row.pk, row.expires_at)


def _read_plan(user_id: int, name: str) -> Plan | Refused:
    user = User.objects.filter(pk=user_id).first()
    server = reading.with_policies(MCPServer.objects.filter(name=name), user).first() if user else None
    if user is None or server is None:
        return Refused(exists=False)
    if not rights.may(user, "use", server):
        return Refused(exists=rights.may(user, "view", server))
    plan, policy = plan_of(server), reading.policy_for(user, server)
    return replace(plan, policy=policy, tools=policy.visible(plan.tools)) if policy else plan


def _label(server: MCPServer) -> str:
    """Return what people call the server's provider."""
    name = str(server.auth.get("provider_name", ""))
    if server.provider_uid is None:
        return name
    found = OAuthProvider.objects.filter(uid=server.provider_uid).values_list("display_name", flat=True).first()
    return found or name


def plan_of(server: MCPServer) -> Plan:
    """Return the plan of a server, whoever calls."""
    auth = server.auth
    header = auth.get("token_injection", {}) if server.mode == "user_oauth" else auth
    return Plan(
        server_uid=server.uid,
        name=server.name,
        url=server.url,
        transport=server.transport,
        enabled=server.enabled,
        mode=server.mode,
        header_name=header.get("header_name", "Authorization"),
        header_prefix=header.get("header_prefix", "Bearer"),
        key_ref=auth.get("key_ref", ""),
        provider_uid=server.provider_uid,
        provider_name=auth.get("provider_name", ""),
        provider_label=_label(server),
        required_scopes=tuple(server.required_scopes),
        consent_delivery=server.consent_delivery,
        capabilities=server.capabilities,
        tools=server.tools,
    )
