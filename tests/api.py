"""A caller of the API, and what its answers look like."""

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from tests import factories

PROVIDERS, SERVERS = "/api/v1/oauth-providers/", "/api/v1/mcp-servers/"
WRITES = ("post", "put", "patch")
SECRETS, CONNECTIONS = "/api/v1/secrets/", "/api/v1/connections/"


def client_of(user: User | None) -> Client:
    """Return a client that sends the user's API token, or none."""
    headers = {"host": "gateway.test"}
    if user is not None:
        headers["authorization"] = f"Bearer {factories.make_api_token(user)}"
    return Client(headers=headers, SERVER_NAME="gateway.test", **{"wsgi.url_scheme": "https"})


def send(user: User | None, method: str, path: str, body: Any = None) -> HttpResponse:
    """Send a request with a JSON body, if any."""
    sent = {"data": "" if body is None else body, "content_type": "application/json"} if method in WRITES else {}
    answer: HttpResponse = getattr(client_of(user), method)(path, **sent)
    return answer


def findings(answer: Any) -> list[tuple[str, str | None]]:
    """Return `(code, attr)` of every error."""
    return [(error["code"], error["attr"]) for error in answer.json()["errors"]]


def provider_body(**fields: Any) -> dict[str, Any]:
    """Return the least that makes a provider, of a public client."""
    return {
        "name": "github",
        "display_name": "GitHub",
        "authorization_endpoint": "https://auth.example.com/authorize",
        "token_endpoint": "https://auth.example.com/token",
        "client_id": "gateway",
        "token_endpoint_auth_method": "none",
        **fields,
    }


def server_body(**fields: Any) -> dict[str, Any]:
    """Return the least that makes a server."""
    return {"name": "tools", "url": "https://mcp.example.com/mcp", **fields}


def bound_to(provider_name: str, **fields: Any) -> dict[str, Any]:
    """Return the `auth` of a server that is bound to a provider."""
    return {"mode": "user_oauth", "provider_name": provider_name, "required_scopes": ["read"], **fields}
