"""A whole installation under test: gateway trees, a separate worker, the far side, and a hand inside the database."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.aigateway import gateways
from tests.faults import processes
from tests.faults.far_side import FarSide
from tests.faults.servers import Postgres, RedisServer
from tests.faults.table import IS_LONG

PROVIDERS = ["rotating", "other"]
USERS = [f"user-{number}" for number in range(12)]
GRANTS = [f"{provider}/{user}" for provider in PROVIDERS for user in USERS]
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}'
CALL_SECONDS = 90
# Short, so that CI sees a lease lapse; the long form takes the product's own.
LIMITS = {"AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS": "3", "VAULT_REFRESH_LEASE_SECONDS": "4"}
LEASE_SECONDS = 45.0 if IS_LONG else 4.0
TIMEOUT_SECONDS = 15.0 if IS_LONG else 3.0
SCAN_SECONDS = 1.0
# The parent and its children, without and with Redis.
TREE_PROCESSES = (2, 4)
# By then every process has dropped what it remembered of the database.
FORGOTTEN_SECONDS = 0.7


def wait_until(is_so: Callable[[], Any], seconds: float, what: str, seen: Callable[[], Any] = str) -> float:
    """Wait for a fact; return how long it took. What was `seen` instead is said if it does not come."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < seconds, f"not within {seconds} seconds: {what} {seen()}"
        time.sleep(0.05)
    return time.monotonic() - started


@dataclass
class Called:
    """What became of one call."""

    status: int
    seconds: float
    at: float
    retry_after: str | None = None
    body: str = ""

    @property
    def succeeded(self) -> bool:
        """Tell whether the tool's result came back."""
        return self.status == 200 and '"result"' in self.body


@dataclass
class Traffic:
    """The calls made while a fault lasted."""

    calls: list[Called] = field(default_factory=list)

    @property
    def failed(self) -> list[Called]:
        """Those without a result."""
        return [call for call in self.calls if not call.succeeded]

    def seconds_of_disturbance(self) -> float:
        """Return how long calls failed, or the longest was held up."""
        ends = max((call.at + call.seconds for call in self.failed), default=0.0)
        begins = min((call.at for call in self.failed), default=0.0)
        return max(ends - begins, *(call.seconds for call in self.calls))


class Site:
    """The running parts. `heal` starts again what has ended, as whatever supervises them would."""

    def __init__(self, folder: Path, far: FarSide, trees: int, workers: int, **env: str) -> None:
        self.far = far
        limits = {} if IS_LONG else LIMITS
        self.env = gateways.environment(
            folder / "data",
            **{
                **gateways.KEYS,
                **limits,
                "AIGW_OUTBOUND_ALLOW": "127.0.0.1",
                "VAULT_SCAN_INTERVAL_SECONDS": str(SCAN_SECONDS),
                "AIGW_LOG_LEVEL": "WARNING",
                **env,
            },
        )
        self.postgres: Postgres | None = None
        self.redis: RedisServer | None = None
        self.inside_env: dict[str, str] = {}
        self._folder = folder
        self._numbers = itertools.count()
        self._stacks = [ExitStack() for _ in range(trees)]
        self._wanted_workers = workers
        self.trees: list[gateways.Gateway] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self._inside: subprocess.Popen[str] | None = None

    def start(self, tokens: dict[str, str] | None = None) -> None:
        """Start all parts and seed the database, unless it is a copy of one whose API `tokens` are known."""
        self.trees = [self._tree(stack) for stack in self._stacks]
        self._urls = [tree.url() for tree in self.trees]
        self.workers = [self._worker() for _ in range(self._wanted_workers)]
        self._inside = self._start_inside()
        if tokens is None:
            self.tokens = self.inside("seed", base=self.far.base, providers=PROVIDERS, users=USERS)
            self.consent()
        else:
            self.tokens = tokens
            self._consented = {grant: self.far.refresh_token(grant) for grant in GRANTS}

    def inside(self, verb: str, **arguments: Any) -> Any:
        """Have something done in the gateway's database; see `tests.faults.inside`."""
        assert self._inside is not None
        assert self._inside.stdin is not None
        assert self._inside.stdout is not None
        self._inside.stdin.write(json.dumps({"verb": verb, **arguments}) + "\n")
        self._inside.stdin.flush()
        return json.loads(self._inside.stdout.readline())

    def consent(self) -> None:
        """Let every user connect anew to every provider."""
        self._consented = {grant: self.far.refresh_token(grant) for grant in GRANTS}
        self.inside("consent", refresh_tokens=self._consented)

    def at_rest(self) -> "Site":
        """Return it with all parts up, every fault over and every user freshly connected."""
        self.far.reset()
        self.heal()
        self.consent()
        return self

    def call(self, user: str, provider: str = "rotating", tree: int = 0) -> Called:
        """Make one tool call through a gateway."""
        address, at = urlsplit(self._urls[tree]), time.monotonic()
        client = HTTPConnection(str(address.hostname), address.port, timeout=CALL_SECONDS)
        headers = {
            "Authorization": f"Bearer {self.tokens[user]}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        try:
            client.request("POST", f"/mcp/v1/{provider}", CALL, headers)
            answer = client.getresponse()
            body = answer.read().decode()
            return Called(answer.status, time.monotonic() - at, at, answer.getheader("Retry-After"), body)
        except (OSError, HTTPException) as exc:
            return Called(0, time.monotonic() - at, at, body=type(exc).__name__)
        finally:
            client.close()

    def call_until_asked(self, user: str, tree: int = 0) -> None:
        """Call until a provider is asked for a new token: what a gateway remembers lives for moments."""
        calls: list[Called] = []
        wait_until(lambda: self.far.asked or calls.append(self.call(user, tree=tree)), 25, "asked", lambda: calls[-3:])

    def readiness(self, tree: int = 0) -> dict[str, Any]:
        """Return what a load balancer is told."""
        address = urlsplit(self._urls[tree])
        client = HTTPConnection(str(address.hostname), address.port, timeout=30)
        client.request("GET", "/readyz")
        answer: dict[str, Any] = json.loads(client.getresponse().read())
        client.close()
        return answer

    @contextmanager
    def traffic(self, users: list[str], provider: str = "rotating", tree: int = 0) -> Iterator[Traffic]:
        """Call, for each of `users`, one call after the other until the block ends."""
        traffic, stopping = Traffic(), threading.Event()

        def caller(user: str) -> None:
            while not stopping.wait(0.05):
                traffic.calls.append(self.call(user, provider, tree))

        threads = [threading.Thread(target=caller, args=[user]) for user in users]
        for thread in threads:
            thread.start()
        try:
            yield traffic
        finally:
            stopping.set()
            for thread in threads:
                thread.join()

    def stored(self, grant: str) -> dict[str, Any]:
        """Return what the vault holds of a grant."""
        return dict(self.inside("state")[grant])

    def lost(self) -> list[str]:
        """Return the grants whose stored refresh token is not the one that the provider honours.

        One that is being renewed at this moment has two seconds to get there.
        """
        deadline = time.monotonic() + 2
        while True:
            found = [
                grant
                for grant, kept in self.inside("state").items()
                if kept["refresh_token"] != self.far.refresh_token(grant)
            ]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def make_due(self, *grants: str) -> None:
        """Let the scan find these grants, of which the access tokens still work."""
        self.inside("make_due", grants=list(grants))

    def expire(self, *grants: str) -> None:
        """Let access tokens expire where only a call notices."""
        self.inside("expire", grants=list(grants))
        time.sleep(FORGOTTEN_SECONDS)

    def renewed(self, *grants: str, within: float) -> float:
        """Wait until each of these grants was renewed and is at rest; return the moment."""

        def is_so() -> bool:
            now = self.inside("state")
            return all(
                now[grant]["refresh_token"] == self.far.refresh_token(grant) != self._consented[grant]
                and not now[grant]["is_leased"]
                for grant in grants
            )

        wait_until(is_so, within, f"{grants} renewed", lambda: [self.stored(grant) for grant in grants])
        return time.monotonic()

    def tree_without(self, pid: int | None) -> int:
        """Return the number of a tree that a process does not belong to."""
        return 1 if pid in processes.family(self.trees[0].process.pid) else 0

    def heal(self) -> None:
        """Start again what has ended, and wait until it answers."""
        for number, tree in enumerate(self.trees):
            if len(processes.family(tree.process.pid)) < TREE_PROCESSES[bool(self.redis)]:
                tree.process.wait(timeout=60)  # it is ending, because one of its processes has
            if tree.process.poll() is not None:
                self._stacks[number].close()
                self._stacks[number] = ExitStack()
                self.trees[number] = self._tree(self._stacks[number])
        self._urls = [tree.url() for tree in self.trees]
        self.workers = [worker if worker.poll() is None else self._worker() for worker in self.workers]

    def processes(self) -> list[int]:
        """Return the process ids of all its parts that run."""
        roots = [part.process for part in self.trees] + self.workers
        return [pid for root in roots if root.poll() is None for pid in processes.family(root.pid)]

    def stop(self) -> None:
        """End everything."""
        processes.send(signal.SIGCONT, *self.processes())
        if self._inside is not None:
            self._inside.kill()
            self._inside.communicate()
        for worker in self.workers:
            worker.terminate()
        for stack in self._stacks:
            stack.close()
        for worker in self.workers:
            try:
                worker.wait(timeout=20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def log(self) -> str:
        """Return what all its parts have printed."""
        return "".join(path.read_text(errors="replace") for path in sorted(self._folder.glob("*.log")))

    def _tree(self, stack: ExitStack) -> gateways.Gateway:
        return stack.enter_context(gateways.serving(self._folder / f"tree{next(self._numbers)}.log", env=self.env))

    def _worker(self) -> subprocess.Popen[bytes]:
        name = f"worker{next(self._numbers)}"
        command = [sys.executable, "-m", "celery", "-A", "aigateway", "--quiet", "worker", "-P", "threads", "-c", "4"]
        with (self._folder / f"{name}.log").open("wb") as output:
            return subprocess.Popen(
                [*command, "-l", "WARNING", "-n", f"{name}-{os.getpid()}@%h"],
                env=self.env,
                cwd=gateways.PROJECT,
                stdout=output,
                stderr=output,
            )

    def _start_inside(self) -> subprocess.Popen[str]:
        with (self._folder / "inside.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.inside"],
                env={**self.env, **self.inside_env},
                cwd=gateways.PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process
