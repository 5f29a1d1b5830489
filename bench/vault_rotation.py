"""How fast a new key is brought under everything: rows per second, against re-encrypting alone.

What was sealed under the older of two keys is rotated by the command that an operator runs. A row has two values.
Beside it, the longest that rows were locked, and the memory of a process of its own that does the same again. Then how
long it takes to count the rows per key, as `--status` and every start do: it opens nothing, and reads an index.
"""

import io
import sys

from bench import _vault

SIZES = (1_000, 10_000, 100_000)
COUNTED = (1_000, 10_000, 100_000)


def under_the_old_key(count: int) -> None:
    """Fill the vault as it was before the key was changed."""
    from django.conf import settings

    newest_first = settings.FERNET_KEYS
    settings.FERNET_KEYS = [_vault.OLD_KEY]
    _vault.empty()
    _vault.fill(count, count)
    settings.FERNET_KEYS = newest_first


def reencrypted_alone(count: int) -> float:
    """Return rows per second without a database."""
    from vault.models import VaultEntry
    from vault.sealing import resealed

    rows = list(VaultEntry.objects.all()[:count])
    spent = _vault.seconds(lambda: [resealed(row, name) for row in rows for name in ("access_token", "refresh_token")])
    return count / spent


def rotate() -> None:
    """Rotate as an operator does."""
    from django.core.management import call_command

    call_command("rotate_vault_keys", stdout=io.StringIO())


def longest_write() -> list[float]:
    """Note from now on how long each write of some rows takes."""
    from vault import rotation

    taken = [0.0]
    real = rotation._Pace.written

    def noted(pace: rotation._Pace, seconds: float) -> None:
        taken[0] = max(taken[0], seconds)
        real(pace, seconds)

    rotation._Pace.written = noted  # type: ignore[method-assign]
    return taken


def measure() -> None:
    """Print a row per size."""
    print(f"{'rows':>7}{'alone, rows/s':>15}{'rotated, rows/s':>17}{'ratio':>7}{'growth':>8}", end="")
    print(f"{'longest write, ms':>19}{'peak MB':>9}")
    first, taken = 0.0, longest_write()
    for size in _vault.sizes(SIZES):
        under_the_old_key(size)
        alone, taken[0] = reencrypted_alone(min(size, 500)), 0.0
        rate = size / _vault.seconds(rotate)
        longest, first = taken[0] * 1000, first or rate
        under_the_old_key(size)
        print(
            f"{size:>7,}{alone:>15.0f}{rate:>17.0f}{rate / alone:>7.2f}{first / rate:>8.2f}"
            f"{longest:>19.0f}{_vault.peak_of_job():>9.0f}",
            flush=True,
        )
    counted()


def counted() -> None:
    """Print how long a count of the rows per key takes, the best of five."""
    from vault import standing
    from vault.models import VaultEntry

    _vault.empty()
    print(f"{'rows':>7}{'counted per key, ms':>21}")
    for size in _vault.sizes(COUNTED):
        _vault.fill(size, 100)
        assert sum(standing.rows_by_key(VaultEntry).values()) == size
        best = min(_vault.seconds(standing.rows_without_key) for _ in range(5))
        print(f"{size:>7,}{best * 1000:>21.1f}", flush=True)


if __name__ == "__main__":
    _vault.main(sys.argv[0], measure, rotate)
