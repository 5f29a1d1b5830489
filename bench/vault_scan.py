"""What a scan costs as the vault grows: 1,000 entries due among 1,000, 10,000 and 100,000.

Everything a scan does, the requests to a token endpoint that answers at once included. Goal: the cost of one due entry
stays within 20 %. The best of several scans counts, in wall time and in this process's CPU: what else the machine does
disturbs the one more than the other. Memory is that of a process of its own that makes one such scan. Below, the plan
of the query that finds what is due, in the largest vault.
"""

import re
import sys
import time

from bench import _vault

DUE = 1000
SIZES = (1_000, 10_000, 100_000)
ROUNDS = 3


def scan(due: int = DUE) -> None:
    """Renew all that is due."""
    from connections.scan import refresh_due

    done = 0
    while counts := refresh_due()["refreshed"]:
        done += counts
    assert done == due, done


def first_page() -> None:
    """Find what is due, and renew none of it."""
    from django.utils import timezone

    from connections.scan import due_entries
    from providers.models import OAuthProvider

    assert len(due_entries(OAuthProvider.objects.get(), timezone.now())[:50]) == 50


def plan() -> str:
    """Return how the database finds a page of due entries."""
    from django.utils import timezone

    from connections.scan import due_entries
    from providers.models import OAuthProvider

    return str(due_entries(OAuthProvider.objects.get(), timezone.now())[:50].explain())


def cost(size: int) -> tuple[float, float]:
    """Return milliseconds per due entry, of wall time and of CPU."""
    wall = cpu = float("inf")
    for _ in range(ROUNDS):
        _vault.fill(size, DUE)
        began = time.process_time()
        wall = min(wall, _vault.seconds(scan))
        cpu = min(cpu, time.process_time() - began)
    return wall / DUE * 1000, cpu / DUE * 1000


def measure() -> None:
    """Print a row per size, and the plan."""
    print(f"{'entries':>9}{'due':>7}{'page of 50, ms':>16}{'ms per due entry':>18}{'growth':>8}", end="")
    print(f"{'CPU ms':>9}{'growth':>8}{'peak MB':>9}")
    _vault.fill(200, 200)
    scan(200)  # so that the first row does not pay for what happens once
    first_wall = first_cpu = 0.0
    size = 0
    for size in _vault.sizes(SIZES):
        wall, cpu = cost(size)
        first_wall, first_cpu = first_wall or wall, first_cpu or cpu
        _vault.fill(size, DUE)
        page = min(_vault.seconds(first_page) for _ in range(5)) * 1000
        peak = _vault.peak_of_job()
        print(
            f"{size:>9,}{DUE:>7,}{page:>16.2f}{wall:>18.2f}{wall / first_wall:>8.2f}"
            f"{cpu:>9.2f}{cpu / first_cpu:>8.2f}{peak:>9.0f}",
            flush=True,
        )
    found = plan()
    print(found)
    if size >= 10 * DUE:  # where all is due, to read all is right
        assert not re.search(r"\b(Seq Scan on|SCAN) vault_vaultentry\b", found), "it reads the whole vault"


if __name__ == "__main__":
    _vault.main(sys.argv[0], measure, scan)
