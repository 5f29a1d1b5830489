"""`manage.py collect_vault [--dry-run]`."""

import time
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from connections import cleanup
from connections.cleanup import Collected
from vault import migrated

WORDS = {
    "provider_gone": "connections of deleted providers",
    "user_gone": "connections of departed users",
    "cut_off": "connections cut off by a changed provider, wiped",
    "dead": "dead connections past VAULT_DEAD_RETENTION_DAYS",
    "consents": "abandoned consents",
    "devices": "abandoned device requests",
    "tombstones": "deleted providers of which nothing is left",
}


class Command(BaseCommand):
    """Collect now, and to the end, what the schedule collects a little at a time."""

    help = (
        "Collect what nobody can use any more, revoking where that is still possible. The schedule does the same, a "
        "little at a time; both may run at once, while the gateway serves."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--dry-run", action="store_true", help="only count what would be collected")

    def handle(self, *, dry_run: bool, **_: Any) -> None:
        """Count, or collect run after run until one finds nothing."""
        migrated.require()
        if dry_run:
            self._print(cleanup.waiting())
            self.stdout.write("Nothing was changed.")
            return
        total, began = Collected(), time.monotonic()
        while (collected := cleanup.collect_orphans()).total:
            total += collected
            self.stderr.write(f"{total.total} collected")
        self._print(total)
        self.stdout.write(f"{total.total} collected in {time.monotonic() - began:.1f} s.")

    def _print(self, counts: Collected) -> None:
        for kind, count in asdict(counts).items():
            self.stdout.write(f"{count:>8}  {WORDS[kind]}")
