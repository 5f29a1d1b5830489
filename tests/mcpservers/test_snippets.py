"""What a user pastes into a client, held against the format that the client documents.

The programs among the snippets are run as they stand in `tests/dataplane/test_snippets_run.py`.
"""

import json
import re
import shlex
import tomllib
from typing import Any

import pytest

from mcpservers.snippets import Target, snippets_for

URL = "https://gateway.test/mcp/v1/code-review"
TARGETS = {False: Target("code-review", URL), True: Target("code-review", URL, brings_token=True)}
UPSTREAM = "X-Upstream-Authorization"


def text(key: str, *, brings_token: bool = False) -> str:
    return next(each.text for each in snippets_for(TARGETS[brings_token]) if each.key == key)


def server(key: str, group: str, *, brings_token: bool) -> dict[str, Any]:
    """Return the one server of a JSON configuration."""
    (found,) = json.loads(text(key, brings_token=brings_token))[group].items()
    assert found[0] == "code-review"
    entry: dict[str, Any] = found[1]
    return entry


def headers(brings_token: bool, token: str, upstream: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} | ({UPSTREAM: upstream} if brings_token else {})


def test_every_client_has_one() -> None:
    keys = "claude-code claude-desktop cursor vscode windsurf codex python typescript curl"
    assert [each.key for each in snippets_for(TARGETS[False])] == keys.split()


@pytest.mark.parametrize("brings_token", [False, True])
def test_none_holds_a_token_and_each_names_the_address_once(brings_token: bool) -> None:
    for each in snippets_for(TARGETS[brings_token]):
        assert each.text.count(URL) == 1
        assert "aigw_" not in each.text
        assert ("UPSTREAM_AUTHORIZATION" in each.text) == brings_token
        assert each.place


@pytest.mark.parametrize("brings_token", [False, True])
def test_claude_code_takes_a_transport_a_name_an_address_and_headers(brings_token: bool) -> None:
    """`claude mcp add --transport http NAME URL --header "Name: value"`, the shell putting the values in."""
    words = shlex.split(text("claude-code", brings_token=brings_token).replace("\\\n", ""))
    assert words[:7] == ["claude", "mcp", "add", "--transport", "http", "code-review", URL]
    sent = dict(header.split(": ", 1) for option, header in zip(words[7::2], words[8::2], strict=True) if option)
    assert set(words[7::2]) == {"--header"}
    assert sent == headers(brings_token, "$AIGW_TOKEN", "$UPSTREAM_AUTHORIZATION")


@pytest.mark.parametrize("brings_token", [False, True])
def test_claude_desktop_starts_mcp_remote_with_headers_from_its_environment(brings_token: bool) -> None:
    """Its file knows `command`, `args` and `env` only; mcp-remote replaces `${NAME}`, and wants no space after `:`."""
    entry = server("claude-desktop", "mcpServers", brings_token=brings_token)
    assert set(entry) == {"command", "args", "env"}
    assert (entry["command"], entry["args"][:3]) == ("npx", ["-y", "mcp-remote", URL])
    options, values = entry["args"][3::2], entry["args"][4::2]
    assert set(options) == {"--header"}
    assert all(re.fullmatch(r"[A-Za-z-]+:\$\{[A-Z_]+\}", value) for value in values)
    named = {value.partition(":")[0]: entry["env"][value.partition("${")[2][:-1]] for value in values}
    assert named == headers(brings_token, "AIGW_TOKEN", "Bearer …")


def test_mcp_remote_is_told_that_plain_http_is_meant() -> None:
    local = snippets_for(Target("tools", "http://127.0.0.1:8000/mcp/v1/tools"))
    assert "--allow-http" in next(each.text for each in local if each.key == "claude-desktop")
    assert "--allow-http" not in text("claude-desktop")


@pytest.mark.parametrize("brings_token", [False, True])
@pytest.mark.parametrize(("key", "member"), [("cursor", "url"), ("windsurf", "serverUrl")])
def test_cursor_and_windsurf_take_headers_from_the_environment(key: str, member: str, brings_token: bool) -> None:
    """Both replace `${env:NAME}` in `headers`; Cursor calls the address `url`, Windsurf `serverUrl`."""
    wanted = headers(brings_token, "${env:AIGW_TOKEN}", "${env:UPSTREAM_AUTHORIZATION}")
    assert server(key, "mcpServers", brings_token=brings_token) == {member: URL, "headers": wanted}


@pytest.mark.parametrize("brings_token", [False, True])
def test_vscode_asks_for_each_value_that_a_header_names(brings_token: bool) -> None:
    """`servers` of type `http`, and `inputs` of type `promptString` that `${input:ID}` names."""
    entry = server("vscode", "servers", brings_token=brings_token)
    wanted = headers(brings_token, "${input:AIGW_TOKEN}", "${input:UPSTREAM_AUTHORIZATION}")
    assert entry == {"type": "http", "url": URL, "headers": wanted}
    inputs = json.loads(text("vscode", brings_token=brings_token))["inputs"]
    assert {each["id"] for each in inputs} == set(re.findall(r"\$\{input:(\w+)\}", json.dumps(entry)))
    assert all((each["type"], each["password"]) == ("promptString", True) and each["description"] for each in inputs)


@pytest.mark.parametrize("brings_token", [False, True])
def test_codex_takes_the_names_of_variables(brings_token: bool) -> None:
    """`[mcp_servers.NAME]` with `url`, `bearer_token_env_var` and `env_http_headers`; `headers` would be ignored."""
    entry = tomllib.loads(text("codex", brings_token=brings_token))["mcp_servers"]["code-review"]
    extra = {"env_http_headers": {UPSTREAM: "UPSTREAM_AUTHORIZATION"}} if brings_token else {}
    assert entry == {"url": URL, "bearer_token_env_var": "AIGW_TOKEN", **extra}


@pytest.mark.parametrize("brings_token", [False, True])
def test_the_python_program_is_python(brings_token: bool) -> None:
    compile(text("python", brings_token=brings_token), "snippet.py", "exec")
