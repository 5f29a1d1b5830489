"""A gateway of the benchmark's own: a data folder, three servers, a user who may use them, and a token."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import _machines as machines

SEED = """
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from guardian.shortcuts import assign_perm
from clients import tokens
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from vault import entries, sealing
from vault.models import Secret
user = User.objects.create_user("bench")
key = Secret(name="BENCH_KEY")
key.value = sealing.seal(key, "value", "upstream-credential-of-the-benchmark")
key.save()
provider = OAuthProvider.objects.create(name="bench", display_name="Bench", authorization_endpoint="https://a.example/a",
    token_endpoint="https://a.example/t", client_id="c", token_endpoint_auth_method="none")
now = timezone.now()
entries.store(user_id=user.pk, provider_uid=provider.uid, fingerprint=provider.fingerprint(), scopes_requested=[],
    tokens=entries.Tokens("upstream-credential-of-the-benchmark", None, now + timedelta(hours=9)), account="", now=now)
static_key = {{"mode": "static_key", "key_ref": "BENCH_KEY", "header_name": "Authorization", "header_prefix": "Bearer"}}
user_oauth = {{"mode": "user_oauth", "provider_name": "bench", "required_scopes": []}}
servers = [
    MCPServer.objects.create(name="static-key", url="{fixed}", auth=static_key),
    MCPServer.objects.create(name="user-oauth", url="{fixed}", auth=user_oauth, provider_uid=provider.uid),
    MCPServer.objects.create(name="stream", url="{streams}", auth=user_oauth, provider_uid=provider.uid),
    MCPServer.objects.create(name="long-stream", url="{long_streams}", auth=user_oauth, provider_uid=provider.uid),
]
for server in servers:
    assign_perm("use_mcpserver", user, server)
print(tokens.create(user, name="bench")[1])
"""


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs: its address, the benchmark's token, its processes, and how long it took to be ready."""

    url: str
    token: str
    pids: list[int]
    seconds_to_ready: float

    def server(self, name: str) -> str:
        """Return the address of one of its MCP servers."""
        return f"{self.url}/mcp/v1/{name}"


@contextmanager
def running(
    fixed: int, streams: int, *, processes: int = 1, cores: list[int] | None = None, events: int = 10
) -> Iterator[Gateway]:
    """Start one, seeded before, on the cores of the system under test."""
    port = machines.free_port()
    manage = [sys.executable, "-W", "ignore", "manage.py"]
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "DJANGO_SETTINGS_MODULE": "aigateway.settings",
            "AIGW_DATA_DIR": folder,
            "AIGW_BASE_URL": f"http://127.0.0.1:{port}",
            "AIGW_OUTBOUND_ALLOW": "127.0.0.1",
            "AIGW_LOG_LEVEL": "WARNING",
            "AIGW_UPSTREAM_CONNECTIONS_PER_SERVER": "1000",
            "AIGW_CALLS_PER_SERVER": "1000",
            "AIGW_CALLS_PER_USER": "1000",
        }
        command = [*manage, "serve", "--port", str(port)]
        with _serving(command, env, cores):  # the first start makes keys and tables
            token = _seed(manage, env, fixed, streams, events)
        started = time.monotonic()
        with _serving([*command, "--processes", str(processes)], env, cores) as pid:
            seconds = time.monotonic() - started
            yield Gateway(f"http://127.0.0.1:{port}", token, machines.children(pid), seconds)


@contextmanager
def _serving(command: list[str], env: dict[str, str], cores: list[int] | None) -> Iterator[int]:
    with machines.running(command, cores or machines.TESTED, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert any("ready http" in line for line in process.stdout), "the gateway did not start"
        yield process.pid


def _seed(manage: list[str], env: dict[str, str], fixed: int, streams: int, events: int) -> str:
    base = f"http://127.0.0.1:{streams}/stream"
    text = SEED.format(
        fixed=f"http://127.0.0.1:{fixed}/mcp", streams=base, long_streams=f"{base}?count={events}&seconds=1"
    )
    command = [*manage, "shell", "-v", "0", "-c", text]
    made = subprocess.run(command, env=env, cwd=machines.PROJECT, check=True, capture_output=True, text=True)
    return made.stdout.strip().splitlines()[-1]
