"""What the page of one server says: where clients reach it, how it authenticates, and what stands in the way."""

from dataclasses import dataclass

from django.contrib.auth.models import User

from clients import rights
from connections import service_tokens
from mcpservers import service_account
from mcpservers.admin_form import MODES
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from vault.models import Secret


@dataclass(frozen=True, slots=True)
class Authentication:
    """A server's auth mode in words; `problem` says why calls are refused, or nothing."""

    label: str
    upstream_sees: str
    header: str = ""
    secret: str = ""
    provider: str = ""
    visible_provider: OAuthProvider | None = None
    problem: str = ""
    client: str = ""
    token_endpoint: str = ""
    scopes: tuple[str, ...] = ()


def authentication(server: MCPServer, viewer: User) -> Authentication:
    """Describe how the server authenticates to the upstream, as `viewer` may see it."""
    mode = MODES[server.mode]
    if server.mode == "static_key":
        ref = server.auth.get("key_ref", "")
        missing = not Secret.objects.filter(name=ref).exists()
        problem = f"Secret {ref} not found. Calls are refused until it exists." if missing else ""
        return Authentication(mode.label, mode.upstream_sees, _header(server.auth), secret=ref, problem=problem)
    if server.mode == "user_oauth":
        return _delegated(server, viewer)
    if server.mode == "token_passthrough":
        return Authentication(mode.label, mode.upstream_sees, "Authorization: … as it came in X-Upstream-Authorization")
    if server.mode == service_account.MODE:
        return _service_account(server, viewer)
    return Authentication(mode.label, mode.upstream_sees)


def _service_account(server: MCPServer, viewer: User) -> Authentication:
    auth = server.auth
    name, ref = auth.get("provider_name", ""), auth.get("client_secret_ref", "")
    provider = OAuthProvider.objects.filter(name=name).first() if name else None
    problem = _provider_problem(server, provider) if name else ""
    if ref and not Secret.objects.filter(name=ref).exists():
        problem = f"Secret {ref} not found. Calls are refused until it exists."
    return Authentication(
        *MODES[service_account.MODE],
        header=_header({}),
        secret=ref,
        provider=name,
        visible_provider=provider if provider and rights.may(viewer, "view", provider) else None,
        problem=problem or _token_problem(server),
        client=auth.get("client_id", ""),
        token_endpoint=auth.get("token_endpoint", ""),
        scopes=tuple(auth.get("scopes", [])),
    )


def _token_problem(server: MCPServer) -> str:
    """Return why the gateway has no token for the service account, if the last try failed."""
    found = service_tokens.standing(server.uid)
    if found.is_refused:
        return (
            f"The authorization server refuses the service account ({found.last_error}). Put its client id, secret or "
            "scopes right; calls are refused until then."
        )
    if found.last_error:
        return f"The token endpoint gave no token ({found.last_error}). It is asked again from time to time."
    return ""


def _delegated(server: MCPServer, viewer: User) -> Authentication:
    name = server.auth.get("provider_name", "")
    provider = OAuthProvider.objects.filter(name=name).first()
    return Authentication(
        *MODES["user_oauth"],
        header=_header(server.auth.get("token_injection", {})),
        provider=name,
        visible_provider=provider if provider and rights.may(viewer, "view", provider) else None,
        problem=_provider_problem(server, provider),
    )


def _provider_problem(server: MCPServer, provider: OAuthProvider | None) -> str:
    if provider is None:
        return "OAuth provider not found: it was deleted. Edit the server and choose another."
    if provider.uid != server.provider_uid:
        return "The provider was replaced by another of the same name. Edit the server and attach it again."
    if not provider.enabled:
        return "The provider is disabled. Calls are refused until it is enabled."
    return ""


def _header(settings: dict[str, str]) -> str:
    prefix = settings.get("header_prefix", "Bearer")
    return f"{settings.get('header_name', 'Authorization')}: {prefix}{' ' if prefix else ''}…"
