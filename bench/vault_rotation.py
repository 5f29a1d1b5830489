"""How fast a new key is brought under everything: rows per second, against re-encrypting alone.

What was sealed under the older of two keys is rotated by the command that an operator runs. A row has two values. Then
how long it takes to count the rows per key, as `--status` and every start do: it opens nothing, and reads an index.
"""

import io
import sys

from bench import _vault

SIZES = (250, 500, 1_000, 2_000)
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


def measure() -> None:
    """Print a row per size."""
    from django.core.management import call_command

    print(f"{'rows':>7}{'alone, rows/s':>15}{'rotated, rows/s':>17}{'ratio':>7}{'growth':>8}{'peak MB':>9}")
    first = 0.0
    for size in SIZES:
        under_the_old_key(size)
        alone = reencrypted_alone(min(size, 500))
        rate = size / _vault.seconds(lambda: call_command("rotate_vault_keys", stdout=io.StringIO()))
        first = first or rate
        print(
            f"{size:>7,}{alone:>15.0f}{rate:>17.0f}{rate / alone:>7.2f}{first / rate:>8.2f}"
            f"{_vault.peak_megabytes():>9.0f}",
            flush=True,
        )
    counted()


def counted() -> None:
    """Print how long a count of the rows per key takes, the best of five."""
    from vault import standing
    from vault.models import VaultEntry

    _vault.empty()
    print(f"{'rows':>7}{'counted per key, ms':>21}")
    for size in COUNTED:
        _vault.fill(size, 100)
        assert sum(standing.rows_by_key(VaultEntry).values()) == size
        best = min(_vault.seconds(standing.rows_without_key) for _ in range(5))
        print(f"{size:>7,}{best * 1000:>21.1f}", flush=True)


if __name__ == "__main__":
    _vault.main(sys.argv[0], measure)
