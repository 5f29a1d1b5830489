"""What the gateway costs on a `tools/call`: the same call to the same server, directly and through the gateway.

Prints, for a server without credentials and for a `user_oauth` server: calls per second at 16 at once, and the
median and 95th percentile of one call after the other, each as a ratio to the direct call in the same run.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

PROJECT = Path(__file__).resolve().parent.parent
SECONDS, ROUNDS, AT_ONCE, ALONE = 2.0, 3, 16, 400
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}'
SEED = """
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from guardian.shortcuts import assign_perm
from clients import tokens
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from vault import entries
user = User.objects.create_user("bench")
provider = OAuthProvider.objects.create(name="bench", display_name="Bench", authorization_endpoint="https://a.example/a",
    token_endpoint="https://a.example/t", client_id="c", token_endpoint_auth_method="none")
now = timezone.now()
entries.store(user_id=user.pk, provider_uid=provider.uid, fingerprint=provider.fingerprint(), scopes_requested=[],
    tokens=entries.Tokens("upstream", None, now + timedelta(hours=2)), account="", now=now)
plain = MCPServer.objects.create(name="plain", url="{url}")
bound = MCPServer.objects.create(name="bound", url="{url}", provider_uid=provider.uid,
    auth={{"mode": "user_oauth", "provider_name": "bench", "required_scopes": []}})
for server in (plain, bound):
    assign_perm("use_mcpserver", user, server)
print(tokens.create(user, name="bench")[1])
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def throughput(http: aiohttp.ClientSession, url: str) -> float:
    """Return calls per second with AT_ONCE callers for SECONDS."""
    deadline, done = time.perf_counter() + SECONDS, 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            await call(http, url)
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return done / (time.perf_counter() - started)


async def latency(http: aiohttp.ClientSession, url: str) -> tuple[float, float]:
    """Return the median and 95th percentile, in milliseconds, of ALONE calls in a row."""
    times = []
    for _ in range(ALONE):
        started = time.perf_counter()
        await call(http, url)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times), statistics.quantiles(times, n=20)[18]


async def call(http: aiohttp.ClientSession, url: str) -> None:
    """Make one call; fail on anything but its result."""
    async with http.post(url, data=CALL) as response:
        body = await response.read()
        assert response.status == 200, body
        assert b'"result"' in body, body


async def measure(token: str, urls: dict[str, str]) -> None:
    """Run the rounds, one path after the other in each, and print the table."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}
    rates: dict[str, list[float]] = {name: [] for name in urls}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in urls}
    async with aiohttp.ClientSession(headers=headers) as http:
        for _ in range(ROUNDS):
            for name, url in urls.items():
                await latency(http, url) if not times[name] else None
                times[name].append(await latency(http, url))
                rates[name].append(await throughput(http, url))
    direct_rate = statistics.median(rates["direct"])
    direct_times = [statistics.median(column) for column in zip(*times["direct"], strict=True)]
    print(f"{'path':<22}{'calls/s':>9}{'ratio':>8}{'median ms':>11}{'ratio':>8}{'p95 ms':>9}{'ratio':>8}")
    for name in urls:
        rate = statistics.median(rates[name])
        median, p95 = (statistics.median(column) for column in zip(*times[name], strict=True))
        print(
            f"{name:<22}{rate:>9.0f}{rate / direct_rate:>8.2f}{median:>11.2f}{median / direct_times[0]:>8.2f}"
            f"{p95:>9.2f}{p95 / direct_times[1]:>8.2f}"
        )


def main() -> None:
    """Start the upstream and the gateway, each in its own process, and measure."""
    upstream, gateway = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "DJANGO_SETTINGS_MODULE": "aigateway.settings",
            "AIGW_DATA_DIR": folder,
            "AIGW_BASE_URL": f"http://127.0.0.1:{gateway}",
            "AIGW_OUTBOUND_ALLOW": f"127.0.0.1:{upstream}",
            "AIGW_LOG_LEVEL": "WARNING",
        }
        python = [sys.executable, "-W", "ignore"]
        manage = [*python, str(PROJECT / "manage.py")]
        far = subprocess.Popen([*python, "-m", "bench._upstream", str(upstream)], cwd=PROJECT, env=env)
        near = subprocess.Popen(
            [*manage, "serve", "--port", str(gateway)], env=env, stdout=subprocess.PIPE, text=True, cwd=PROJECT
        )
        try:
            assert near.stdout is not None
            assert any("ready http" in line for line in near.stdout), "the gateway did not start"
            seed = SEED.format(url=f"http://127.0.0.1:{upstream}/mcp")
            made = subprocess.run(
                [*manage, "shell", "-v", "0", "-c", seed],
                env=env,
                cwd=PROJECT,
                check=True,
                capture_output=True,
                text=True,
            )
            base = f"http://127.0.0.1:{gateway}/mcp/v1"
            urls = {
                "direct": f"http://127.0.0.1:{upstream}/mcp",
                "gateway, none": f"{base}/plain",
                "gateway, user_oauth": f"{base}/bound",
            }
            asyncio.run(measure(made.stdout.strip().splitlines()[-1], urls))
        finally:
            for process in (near, far):
                process.terminate()
            for process in (near, far):
                process.wait(timeout=30)


if __name__ == "__main__":
    main()
