"""The token endpoint that counts, as a test sees it; see `tests.faults.crowd_endpoint`."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from tests.aigateway.gateways import PROJECT
from tests.faults import servers

BARS = 10


@dataclass
class Endpoint:
    """A token endpoint in a process of its own."""

    base: str

    def seen(self) -> dict[str, Any]:
        """Return what it was asked."""
        return dict(requests.get(f"{self.base}/seen", timeout=10).json())


@contextmanager
def counting_endpoint() -> Iterator[Endpoint]:
    """Serve one."""
    port = servers.free_port()
    command = [sys.executable, "-m", "tests.faults.crowd_endpoint", str(port)]
    process = subprocess.Popen(command, cwd=PROJECT)
    try:
        yield Endpoint(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=30)


def histogram(arrivals: list[float]) -> str:
    """Draw when requests came, in tenths of the time that they took."""
    first, width = min(arrivals), (max(arrivals) - min(arrivals)) / BARS or 1.0
    bars = Counter(min(int((at - first) / width), BARS - 1) for at in arrivals)
    return " ".join(f"{bars[number]}" for number in range(BARS))
