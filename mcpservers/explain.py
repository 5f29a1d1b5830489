"""A dry run of a call: each decision that the gateway would take, in its order, and why (contract §6).

Nothing is opened, renewed or sent: no token is read and nobody is asked but the name server.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.utils import timezone

from audit import trail
from clients import holders, rights, tokens
from connections import freshness, service_tokens, unreadable
from connections.freshness import Action
from mcpservers.auth_modes import MODES
from mcpservers.dataplane.passthrough import NAME as UPSTREAM_HEADER
from mcpservers.dataplane.routing import plan_of
from mcpservers.models import MCPServer
from mcpservers.tool_policy import reading
from mcpservers.tool_policy.rules import Verdict
from outbound import addresses
from outbound.errors import OutboundError
from providers.models import OAuthProvider
from vault.models import Secret, VaultEntry

TOOL_WORDS = {
    Verdict.ALLOWED: "The tool policy lets it through.",
    Verdict.HIDDEN: "The tool policy hides it: for this user the tool does not exist.",
    Verdict.HELD: "It is new, or changed since it was approved, and is held for review.",
}

NOT_YOURS = "Calls of somebody else are explained to superusers and members of the group admins only."


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision; a call ends at the first that is not ok."""

    step: str
    is_ok: bool
    detail: str

    @property
    def words(self) -> str:
        """Return the step as people read it."""
        return self.step.replace("_", " ").capitalize()


def asked_about(actor: User, name: str) -> User | None:
    """Return whose call is meant: an empty name is the actor's own. None where an admin names nobody there is.

    Raises PermissionRefused when somebody else asks about others; they do not learn who there is.
    """
    if name in ("", actor.get_username()):
        return actor
    if not rights.is_admin(actor):
        raise rights.PermissionRefused("permission_denied", NOT_YOURS)
    return User.objects.filter(username=name).first()


def explain(server: MCPServer, user: User, *, actor: User, tool: str = "") -> list[Decision]:
    """Return what the gateway would decide about a call of `user`. That somebody asked is recorded."""
    trail.record(
        "mcp_server.explained", actor=actor, target_type="mcp_server", target=server.name, about=user.get_username()
    )
    found = list(_decisions(server, user, tool))
    if server.discovery_error and rights.may(actor, "change", server):
        found.append(Decision("last_error", True, f"When it was last asked for its tools: {server.discovery_error}"))
    return found


def _decisions(server: MCPServer, user: User, tool: str) -> Iterator[Decision]:
    yield _caller(user)
    yield _permission(server, user)
    yield Decision("enabled", server.enabled, "The server is enabled." if server.enabled else "The server is disabled.")
    if tool:
        yield _tool(server, user, tool)
    yield Decision("auth_mode", True, f"{MODES[server.mode].label}. {MODES[server.mode].upstream_sees}")
    yield from _credential(server, user)
    yield Decision("header", True, _header(server))
    yield _address(server)


def _caller(user: User) -> Decision:
    if not user.is_active:
        return Decision("caller", False, "The account is not active: its tokens and sessions are refused.")
    count = tokens.usable_by(user).count()
    return Decision("caller", True, f"Signs in with a session or an API token; tokens that are good: {count}.")


def _permission(server: MCPServer, user: User) -> Decision:
    if not rights.may(user, "use", server):
        return Decision("permission", False, f"Lacks {rights.label('use', server)}.")
    through = ", ".join(sorted(holders.ways(user, "use", server)))
    return Decision("permission", True, f"May use the server; granted: {through}.")


def _tool(server: MCPServer, user: User, tool: str) -> Decision:
    policy = reading.policy_for(user, server)
    verdict = policy.verdict(tool) if policy else Verdict.ALLOWED
    return Decision("tool", verdict is Verdict.ALLOWED, TOOL_WORDS[verdict])


def _credential(server: MCPServer, user: User) -> Iterator[Decision]:
    if server.mode == "static_key":
        yield _secret(str(server.auth.get("key_ref", "")))
    elif server.mode == "token_passthrough":
        yield Decision("credential", True, f"The caller has to bring it in {UPSTREAM_HEADER}.")
    elif server.mode == "service_account_oauth":
        yield _service_account(server)
    elif server.mode == "user_oauth":
        provider = OAuthProvider.objects.filter(uid=server.provider_uid).first() if server.provider_uid else None
        yield _provider(server, provider)
        if provider is not None:
            yield _connection(server, user, provider)


def _secret(ref: str) -> Decision:
    is_there = Secret.objects.filter(name=ref).exists()
    return Decision("credential", is_there, f"Secret {ref} is there." if is_there else f"Secret {ref} not found.")


def _service_account(server: MCPServer) -> Decision:
    found = service_tokens.standing(server.uid)
    if found.is_refused or found.last_error:
        return Decision("credential", not found.is_refused, f"The token endpoint gave no token ({found.last_error}).")
    return Decision("credential", True, "The gateway gets and renews one token for everybody.")


def _provider(server: MCPServer, provider: OAuthProvider | None) -> Decision:
    if provider is None:
        return Decision("provider", False, "OAuth provider not found: it was deleted or replaced.")
    if not provider.enabled:
        return Decision("provider", False, f"The provider {provider.name} is disabled.")
    return Decision("provider", True, f"{provider.name} is enabled.")


def _connection(server: MCPServer, user: User, provider: OAuthProvider) -> Decision:
    entry = VaultEntry.objects.filter(user_id=user.pk, provider_uid=provider.uid).first()
    if entry is not None and unreadable.is_unreadable(entry):
        return Decision("connection", False, "The saved sign-in does not open: its key is missing.")
    wanted = server.required_scopes
    verdict = freshness.judge(entry, scopes=wanted, fingerprint=provider.fingerprint(), now=timezone.now())
    words = {
        Action.USE: "A token is at hand.",
        Action.REFRESH: "The token is renewed before the call.",
        Action.WAIT: "A renewal failed a moment ago and is tried again soon.",
        Action.CONNECT: "Not connected, or the provider was changed since: the user is asked to connect.",
        Action.SCOPES: f"Connected, but not granted: {' '.join(verdict.missing)}.",
        Action.EXPIRED: f"The connection has ended ({verdict.detail}): the user is asked to reconnect.",
    }
    granted = " ".join(entry.scopes_granted) if entry else ""
    text = (
        f"{words[verdict.action]} Wanted: {' '.join(wanted) or 'nothing in particular'}. Granted: {granted or 'none'}."
    )
    is_usable = verdict.action in {Action.USE, Action.REFRESH} or (
        verdict.action == Action.WAIT and verdict.still_valid
    )
    return Decision("connection", is_usable, text)


def _header(server: MCPServer) -> str:
    if server.mode == "none":
        return "No credential is sent."
    if server.mode == "token_passthrough":
        return f"Authorization: … as it came in {UPSTREAM_HEADER}"
    plan = plan_of(server)
    return f"{plan.header_name}: {plan.header_prefix}{' ' if plan.header_prefix else ''}…"


def _address(server: MCPServer) -> Decision:
    if not server.url:
        return Decision("address", True, "It runs in the gateway's own process.")
    try:
        addresses.check_url(server.url)
    except OutboundError as refused:
        return Decision("address", False, str(refused))
    return Decision("address", True, "Nothing forbids the address; whether anything answers there is not tried.")
