"""`manage.py rotate_vault_keys`: after a new key was put first in `FERNET_KEYS`, bring everything under it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import trail
from vault import rotation
from vault.rotation import Standing


class Command(BaseCommand):
    """Re-encrypt under the newest key; may be interrupted, and run while the gateway serves."""

    help = (
        "Re-encrypt every sealed value under the first of FERNET_KEYS. Put the new key first and restart every process "
        "before; remove the old key when --status says that nothing is left under it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take `--status`."""
        parser.add_argument(
            "--status",
            action="store_true",
            help="only count the values per key; exit 1 while one is under an older key",
        )

    def handle(self, *_: Any, status: bool, **__: Any) -> None:
        """Rotate, then say how it stands."""
        if not status:
            done = rotation.rotate(lambda table, count: self.stdout.write(f"{table}: {count} re-encrypted"))
            trail.record("vault.keys_rotated", target_type="vault", values=done)
        found = self._standing()
        self.stdout.write(f"newest {found.newest}, older {found.older}, unreadable {found.unreadable}")
        if found.unreadable:
            text = f"{found.unreadable} open under none of FERNET_KEYS; see docs/operations.md."
            self.stderr.write(self.style.WARNING(text))
        if found.older:
            raise CommandError(f"{found.older} values are under an older key: keep that key, and run this again.")

    def _standing(self) -> Standing:
        total = Standing()
        for model, columns in rotation.sealed_columns().items():
            found = rotation.standing(model, columns)
            counts = f"newest {found.newest}, older {found.older}, unreadable {found.unreadable}"
            self.stdout.write(f"{model._meta.db_table}: {counts}")
            total += found
        return total
