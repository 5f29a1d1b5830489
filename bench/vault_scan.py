"""What a scan costs as the vault grows: 1,000 entries due among 1,000, 10,000 and 100,000.

Everything a scan does, the requests to a token endpoint that answers at once included. Goal: the cost of one due entry
stays within 20 %.
"""

import sys

from bench import _vault

DUE = 1000
SIZES = (1_000, 10_000, 100_000)


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


def measure() -> None:
    """Print a row per size."""
    print(f"{'entries':>9}{'due':>7}{'page of 50, ms':>16}{'ms per due entry':>18}{'growth':>8}{'peak MB':>9}")
    first = 0.0
    _vault.fill(200, 200)
    scan(200)  # so that the first row does not pay for what happens once
    for size in SIZES:
        _vault.fill(size, DUE)
        page = min(_vault.seconds(first_page) for _ in range(5)) * 1000
        each = _vault.seconds(scan) / DUE * 1000
        first = first or each
        print(
            f"{size:>9,}{DUE:>7,}{page:>16.2f}{each:>18.2f}{each / first:>8.2f}{_vault.peak_megabytes():>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    _vault.main(sys.argv[0], measure)
