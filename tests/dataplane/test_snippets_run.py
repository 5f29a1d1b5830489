"""The programs among the snippets, run as a user would paste them, against a gateway that serves."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from mcpservers.models import MCPServer
from mcpservers.snippets import Target, snippets_for
from tests import factories
from tests.dataplane.conftest import Agent
from tests.fakes.mcp_server import FakeMcpServer
from tests.real_clients import installing

SECONDS = 60


def run(agent: Agent, key: str, folder: Path, **environment: str) -> str:
    """Run a snippet with alice's token where it looks for it, and return what it printed."""
    target = Target("tools", agent.url, brings_token=bool(environment))
    text = next(each.text for each in snippets_for(target) if each.key == key)
    file = folder / {"python": "snippet.py", "typescript": "snippet.mjs", "curl": "snippet.sh"}[key]
    file.write_text(text)
    command = {"python": sys.executable, "typescript": "node", "curl": "sh"}[key]
    # Nothing of this machine's proxies or settings: a pasted program has none of them either.
    given = {"PATH": os.environ["PATH"], "AIGW_TOKEN": agent.token, **environment}
    done = subprocess.run([command, file], env=given, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("key", ["python", "curl"])
def test_the_program_lists_the_tools(agent: Agent, tmp_path: Path, key: str) -> None:
    assert "whoami" in run(agent, key, tmp_path)


@pytest.mark.real_client
def test_the_typescript_program_lists_the_tools(agent: Agent) -> None:
    if missing := installing.missing():
        pytest.skip(f"needs {missing}")
    folder = installing.INSTALLED / f"snippet-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    try:
        assert "whoami" in run(agent, "typescript", folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("key", ["python", "curl"])
def test_the_program_brings_the_callers_own_token(
    agent: Agent, server: MCPServer, upstream: FakeMcpServer, tmp_path: Path, key: str
) -> None:
    MCPServer.objects.filter(pk=server.pk).update(auth={"mode": "token_passthrough"})
    assert "whoami" in run(agent, key, tmp_path, UPSTREAM_AUTHORIZATION="Bearer of-alice")
    assert "Bearer of-alice" in str([request.headers for request in upstream.requests])


def test_a_program_without_the_right_token_fails(agent: Agent, alice: User, tmp_path: Path) -> None:
    agent.token = factories.make_api_token(alice)[:-1] + "-"
    with pytest.raises(AssertionError):
        run(agent, "curl", tmp_path)
