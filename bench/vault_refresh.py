"""What renewing costs beyond the request itself: one worker against bare requests to the same token endpoint.

Both keep their connections open; bare is `requests` alone, as many at once as the worker makes. The endpoint answers at
once, or after 50 ms, as one across the internet would. Each side runs in turn, several times, and the best run counts:
what else a machine does disturbs both. CPU is this process's, per request. Goal: the worker renews at 60 % of the bare
rate or more.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests

from bench import _vault

DUE = 400
ROUNDS = 3


@dataclass
class Best:
    """The best of several runs: requests per second, and milliseconds of this process's CPU for each."""

    rate: float = 0.0
    cpu: float = float("inf")

    def run(self, count: int, work: Callable[[], object]) -> None:
        """Run once more."""
        cpu = time.process_time()
        self.rate = max(self.rate, count / _vault.seconds(work))
        self.cpu = min(self.cpu, (time.process_time() - cpu) / count * 1000)


class Bare:
    """Requests to the token endpoint, `at_once`, each thread on a connection that it keeps."""

    def __init__(self, url: str, at_once: int) -> None:
        self._url, self._local = url, threading.local()
        self._pool = ThreadPoolExecutor(at_once)
        self.count = min(DUE, 50 * at_once)
        self.run(at_once)

    def run(self, count: int) -> None:
        """Make so many requests."""
        list(self._pool.map(self._ask, range(count)))

    def _ask(self, _: int) -> str:
        form = {"grant_type": "refresh_token", "refresh_token": "r" * 40, "client_id": "bench"}
        answer = self._session().post(self._url, data=form, timeout=30)
        return str(answer.json()["access_token"])

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False  # ours reads no proxy variable either
        session: requests.Session = self._local.session
        return session


def renew() -> None:
    """Renew all that is due, as one scan of a worker does."""
    from connections.scan import refresh_due

    counts = refresh_due()
    assert counts["refreshed"] == DUE, counts


def measure() -> None:
    """Print a row per kind of endpoint."""
    from django.conf import settings

    at_once = settings.VAULT_REFRESH_CONCURRENCY_PER_PROVIDER
    settings.VAULT_SCAN_BATCH = DUE
    print(f"{'endpoint':<14}{'bare/s':>8}{'bare/s':>11}{'renewed/s':>11}{'ratio':>7}", end="")
    print(f"{'bare CPU ms':>13}{'renewed CPU ms':>16}{'ratio':>7}{'peak MB':>9}")
    print(f"{'':<14}{'alone':>8}{f'{at_once} at once':>11}")
    for milliseconds in (0, 50):
        url = os.environ["BENCH_TOKEN_ENDPOINT"] + str(milliseconds)
        single, several = Bare(url, 1), Bare(url, at_once)
        alone, together, renewed = Best(), Best(), Best()
        for _ in range(ROUNDS):
            _vault.fill(DUE, DUE, milliseconds=milliseconds)
            alone.run(single.count, lambda bare=single: bare.run(bare.count))
            together.run(several.count, lambda bare=several: bare.run(bare.count))
            renewed.run(DUE, renew)
        print(
            f"{f'after {milliseconds} ms':<14}{alone.rate:>8.0f}{together.rate:>11.0f}{renewed.rate:>11.0f}"
            f"{renewed.rate / together.rate:>7.2f}{together.cpu:>13.2f}{renewed.cpu:>16.2f}"
            f"{together.cpu / renewed.cpu:>7.2f}{_vault.peak_megabytes():>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    _vault.main(sys.argv[0], measure)
