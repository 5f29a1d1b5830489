"""`manage.py rotate_vault_keys`: after a new key was put first in `FERNET_KEYS`, bring everything under it."""

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import trail
from vault import keyring, migrated, rotation, standing
from vault.progress import Progress
from vault.rows import UNREADABLE


class Command(BaseCommand):
    """Re-encrypt under the newest key; may be interrupted, and run while the gateway serves."""

    help = (
        "Re-encrypt every sealed value under the first of FERNET_KEYS. Put the new key first and restart every process "
        "before; remove the old key when --status says that nothing is left under it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take `--status`, `--verify` and `--rows-per-second`."""
        parser.add_argument(
            "--status",
            action="store_true",
            help="only count the rows per key; exit 1 while a key other than the newest is needed",
        )
        parser.add_argument(
            "--verify", action="store_true", help="open every row instead of trusting the key ids that rows state"
        )
        parser.add_argument(
            "--rows-per-second",
            type=float,
            default=0,
            metavar="N",
            help="no faster than this, to spare a busy database (default: as fast as it goes)",
        )

    def handle(self, *_: Any, status: bool, verify: bool, rows_per_second: float, **__: Any) -> None:
        """Rotate, then say how it stands."""
        if rows_per_second < 0:
            raise CommandError("--rows-per-second must be positive.")
        migrated.require()
        if not status:
            done = rotation.rotate(Progress(self.stdout), rows_per_second=rows_per_second, trusting=not verify)
            trail.record("vault.keys_rotated", target_type="vault", rows=done)
            self.stdout.write(f"{done:,} rows re-encrypted")
        counts = self._count()
        astray = sum(rotation.astray(model) for model in standing.sealed_models()) if verify else 0
        if astray:
            raise CommandError(
                f"Rows that are not under the key that they state: {astray:,}. Run this with --verify only."
            )
        self._advise(counts)

    def _count(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for model in standing.sealed_models():
            counts = standing.rows_by_key(model)
            for id, rows in sorted(counts.items()):
                self.stdout.write(f"{model._meta.db_table:<28} {id:<14}{rows:>10,}  {_kind(id)}")
            total += counts
        by_kind: Counter[str] = Counter()
        for id, rows in total.items():
            by_kind[_kind(id)] += rows
        self.stdout.write(", ".join(f"{kind} {by_kind[kind]:,}" for kind in KINDS) + " rows")
        return by_kind

    def _advise(self, counts: Counter[str]) -> None:
        if counts["unreadable"]:
            text = f"Rows with a value that opens under no key: {counts['unreadable']:,}; see docs/operations.md."
            self.stderr.write(self.style.WARNING(text))
        if counts["missing"]:
            raise CommandError(
                f"Rows under a key that FERNET_KEYS lacks: {counts['missing']:,}. Put it back at the end."
            )
        if left := counts["older"] + counts["unknown"]:
            raise CommandError(
                f"Rows not yet under the newest key: {left:,}. Keep every key of FERNET_KEYS, and run "
                "manage.py rotate_vault_keys."
            )
        older = ", ".join(keyring.ids()[1:])
        self.stdout.write(f"Next: take {older} out of FERNET_KEYS and restart." if older else "Nothing is left to do.")


KINDS = ("newest", "older", "missing", "unknown", "unreadable")


def _kind(id: str) -> str:
    if id in (UNREADABLE, standing.UNKNOWN):
        return "unreadable" if id == UNREADABLE else "unknown"
    if id not in keyring.ids():
        return "missing"
    return "newest" if id == keyring.newest() else "older"
