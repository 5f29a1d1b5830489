"""What renewing costs beyond the request itself: one worker against bare requests to the same token endpoint.

Bare is `requests` on connections that are kept open, as many at once as the worker makes. The endpoint answers at once,
or after 50 ms, as one across the internet would. Goal: the worker renews at 60 % of the bare rate or more.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import requests

from bench import _vault

DUE = 200


def bare(url: str, at_once: int) -> float:
    """Return requests per second."""
    form = {"grant_type": "refresh_token", "refresh_token": "r" * 40, "client_id": "bench"}
    with requests.Session() as http:
        http.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=at_once))

        def ask(_: int) -> str:
            answer = http.post(url, data=form, timeout=30)
            return str(answer.json()["access_token"])

        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(ask, range(at_once)))
            count = min(DUE, 50 * at_once)
            return count / _vault.seconds(lambda: list(pool.map(ask, range(count))))


def worker() -> float:
    """Return renewals per second of one scan, after a first one that opens connections."""
    from connections.scan import refresh_due

    counts: dict[str, int] = {}
    spent = _vault.seconds(lambda: counts.update(refresh_due()))
    assert counts["refreshed"] == DUE, counts
    return DUE / spent


def measure() -> None:
    """Print a row per kind of endpoint."""
    from django.conf import settings

    at_once = getattr(settings, "VAULT_REFRESH_CONCURRENCY_PER_PROVIDER", 1)
    settings.VAULT_SCAN_BATCH = DUE
    print(f"{'endpoint':<16}{'bare/s':>9}{'bare/s':>11}{'renewed/s':>11}{'ratio':>7}{'peak MB':>9}")
    print(f"{'':<16}{'alone':>9}{f'{at_once} at once':>11}")
    for milliseconds in (0, 50):
        url = os.environ["BENCH_TOKEN_ENDPOINT"] + str(milliseconds)
        _vault.fill(DUE, DUE, milliseconds=milliseconds)
        alone, together, renewed = bare(url, 1), bare(url, at_once), worker()
        print(
            f"{f'after {milliseconds} ms':<16}{alone:>9.0f}{together:>11.0f}{renewed:>11.0f}{renewed / together:>7.2f}"
            f"{_vault.peak_megabytes():>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    _vault.main(sys.argv[0], measure)
