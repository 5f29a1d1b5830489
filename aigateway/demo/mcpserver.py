"""A real MCP server for the demo: official SDK, Streamable HTTP over TLS, every token checked at its issuer.

Run: `python -m aigateway.demo.mcpserver [--host H] [--port P]` with `DEMO_DATA_DIR` naming the folder that holds the
file written by `ResourceServer.write`.
"""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Self

import anyio
import httpx2
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from pydantic import AnyHttpUrl, Field

from aigateway.demo import serving
from aigateway.demo.private_files import read_private_json, write_private_json

FILE_NAME = "mcpserver.json"
REQUIRED_SCOPE = "mcp:tools"
INTROSPECTION_TIMEOUT_SECONDS = 10
INSTRUCTIONS = "Demo tools that act as the person whose token is presented. Start with whoami."


@dataclass(frozen=True)
class ResourceServer:
    """What the MCP server is told at start: its certificate and how it asks the authorization server."""

    issuer: str
    introspection_endpoint: str
    client_id: str
    client_secret: str = field(repr=False)
    certificate: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` left in the data folder."""
        return cls(**read_private_json(folder / FILE_NAME))

    def write(self, folder: Path) -> None:
        """Leave it in the data folder, for the MCP server alone to read (mode 0600)."""
        write_private_json(folder / FILE_NAME, asdict(self))


class IntrospectingVerifier:
    """Asks the issuer about every token on every request (RFC 7662), so that a revocation counts at once."""

    def __init__(self, configuration: ResourceServer, resource: str) -> None:
        self._configuration = configuration
        self._resource = resource
        self._http = httpx2.AsyncClient(
            auth=(configuration.client_id, configuration.client_secret),
            timeout=INTROSPECTION_TIMEOUT_SECONDS,
            trust_env=False,
        )

    async def verify_token(self, token: str) -> AccessToken | None:
        """Tell whom the token stands for, None when it is not good here.

        Raises httpx2.HTTPError when the issuer cannot be asked: that is a 500, not a refusal.
        """
        response = await self._http.post(self._configuration.introspection_endpoint, data={"token": token})
        response.raise_for_status()
        answer = response.json()
        audience = answer.get("aud")
        if answer.get("active") is not True or (audience and self._resource not in audience):
            return None
        return AccessToken(
            token=token,
            client_id=answer["client_id"],
            scopes=answer["scope"].split(),
            expires_at=answer["exp"],
            # A client's own token (RFC 6749 section 4.4) is no user's.
            subject=answer.get("username", answer["client_id"]),
            claims={"iss": self._configuration.issuer},
        )


def make_server(configuration: ResourceServer, resource: str) -> MCPServer[None]:
    """Make the server whose endpoint is the URL `resource`."""
    server: MCPServer[None] = MCPServer(
        name="demo",
        title="Demo tools",
        version="1.0",
        instructions=INSTRUCTIONS,
        log_level="WARNING",
        token_verifier=IntrospectingVerifier(configuration, resource),
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(configuration.issuer),
            resource_server_url=AnyHttpUrl(resource),
            required_scopes=[REQUIRED_SCOPE],
            # The verifier looks at the audience itself: tokens without one are accepted (RFC 8707 is optional here).
            validate_token_resource=False,
        ),
    )
    server.add_tool(whoami)
    server.add_tool(echo)
    server.add_tool(count)
    return server


def whoami() -> str:
    """Tell who you are to this server: the user name, or else the client, that the token's issuer vouches for."""
    token = get_access_token()
    if token is None or token.subject is None:
        raise RuntimeError("no verified token on this request")
    return token.subject


def echo(text: Annotated[str, Field(max_length=2000)]) -> str:
    """Give back the text as it came."""
    return text


async def count(
    ctx: Context[None, None],
    to: Annotated[int, Field(ge=1, le=100)] = 5,
    pause_seconds: Annotated[float, Field(ge=0, le=2)] = 0.2,
) -> str:
    """Count slowly, reporting progress at every number."""
    for number in range(1, to + 1):
        await ctx.report_progress(number, to, f"{number} of {to}")
        await anyio.sleep(pause_seconds)
    return f"counted to {to}"


def main() -> None:
    """Serve until SIGTERM."""
    arguments = serving.read_arguments("aigateway.demo.mcpserver")
    # At INFO it prints whole URLs.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    configuration = ResourceServer.read(arguments.data_dir)
    listener = serving.bind(arguments.host, arguments.port)
    resource = serving.url_of(listener, "https") + "/mcp"
    app = make_server(configuration, resource).streamable_http_app(streamable_http_path="/mcp", host=arguments.host)
    serving.serve(app, listener, ready_url=resource, certificate=Path(configuration.certificate))


if __name__ == "__main__":
    main()
