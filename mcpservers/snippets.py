"""What to paste into each client so that it reaches a server through the gateway, in that client's own format.

No snippet holds a token: each takes it from the environment variable AIGW_TOKEN, or asks for it, as far as the client
can. A server in the mode `token_passthrough` takes the caller's upstream token as well, from UPSTREAM_AUTHORIZATION.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcpservers import snippets_code
from mcpservers.dataplane.passthrough import NAME as UPSTREAM_HEADER

TOKEN, UPSTREAM = "AIGW_TOKEN", "UPSTREAM_AUTHORIZATION"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the client is to go, and whether it brings an upstream token of its own."""

    name: str
    url: str
    brings_token: bool = False

    def headers(self, reference: Callable[[str], str]) -> dict[str, str]:
        """Return the headers to send, with the values that `reference` makes of a variable's name."""
        own = {"Authorization": f"Bearer {reference(TOKEN)}"}
        return own | ({UPSTREAM_HEADER: reference(UPSTREAM)} if self.brings_token else {})


@dataclass(frozen=True, slots=True)
class Snippet:
    """A text to paste, for which client, and where it goes."""

    key: str
    client: str
    place: str
    text: str


def snippets_for(target: Target) -> list[Snippet]:
    """Return the snippets of every client, in the order in which they are shown."""
    return [
        Snippet(
            "claude-code",
            "Claude Code",
            "Run in a terminal; it keeps the token in ~/.claude.json.",
            _claude_code(target),
        ),
        Snippet(
            "claude-desktop",
            "Claude Desktop",
            "Settings, Developer, Edit Config: claude_desktop_config.json. Needs Node.js. Put the token in place of "
            f"{TOKEN}, then restart Claude.",
            _claude_desktop(target),
        ),
        Snippet("cursor", "Cursor", "~/.cursor/mcp.json, or .cursor/mcp.json in a project.", _cursor(target)),
        Snippet("vscode", "VS Code", ".vscode/mcp.json. VS Code asks for the token and keeps it.", _vscode(target)),
        Snippet("windsurf", "Windsurf", "~/.codeium/windsurf/mcp_config.json", _windsurf(target)),
        Snippet("codex", "Codex", "~/.codex/config.toml", _codex(target)),
        Snippet(
            "python",
            "Python SDK",
            "pip install mcp httpx2",
            snippets_code.python(target.url, target.headers(lambda name: f"{{environ['{name}']}}")),
        ),
        Snippet(
            "typescript",
            "TypeScript SDK",
            "npm install @modelcontextprotocol/client",
            snippets_code.typescript(target.url, target.headers(lambda name: f"${{process.env.{name}}}")),
        ),
        Snippet(
            "curl", "curl", "Run in a terminal; it lists the tools.", snippets_code.curl(target.url, _in_shell(target))
        ),
    ]


def _claude_code(target: Target) -> str:
    headers = [f'--header "{name}: {value}"' for name, value in _in_shell(target).items()]
    return " \\\n  ".join([f"claude mcp add --transport http {target.name} {target.url}", *headers])


def _claude_desktop(target: Target) -> str:
    """Bridge to stdio: that client's file takes programs, no addresses. The values stay off the command line."""
    variables = {"AUTH_HEADER": f"Bearer {TOKEN}"} | ({UPSTREAM: "Bearer …"} if target.brings_token else {})
    named = zip(target.headers(str), variables, strict=True)
    headers = [part for header, variable in named for part in ("--header", f"{header}:${{{variable}}}")]
    plain = ["--allow-http"] if target.url.startswith("http://") else []
    server = {"command": "npx", "args": ["-y", "mcp-remote", target.url, *plain, *headers], "env": variables}
    return _json({"mcpServers": {target.name: server}})


def _cursor(target: Target) -> str:
    return _json({"mcpServers": {target.name: {"url": target.url, "headers": target.headers(_from_env)}}})


def _windsurf(target: Target) -> str:
    return _json({"mcpServers": {target.name: {"serverUrl": target.url, "headers": target.headers(_from_env)}}})


def _vscode(target: Target) -> str:
    """Let VS Code ask for each value once; it keeps them itself."""
    asked = {TOKEN: "API token of the AI Gateway"} | ({UPSTREAM: "Your upstream token"} if target.brings_token else {})
    inputs = [
        {"type": "promptString", "id": key, "description": words, "password": True} for key, words in asked.items()
    ]
    headers = target.headers(lambda variable: f"${{input:{variable}}}")
    server = {"type": "http", "url": target.url, "headers": headers}
    return _json({"inputs": inputs, "servers": {target.name: server}})


def _codex(target: Target) -> str:
    lines = [f"[mcp_servers.{target.name}]", f'url = "{target.url}"', f'bearer_token_env_var = "{TOKEN}"']
    if target.brings_token:
        lines.append(f'env_http_headers = {{ "{UPSTREAM_HEADER}" = "{UPSTREAM}" }}')
    return "\n".join(lines)


def _curl(target: Target) -> str:
    return snippets_code.curl(target.url, _in_shell(target))


def _in_shell(target: Target) -> dict[str, str]:
    return target.headers(lambda variable: f"${variable}")


def _from_env(variable: str) -> str:
    return f"${{env:{variable}}}"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
