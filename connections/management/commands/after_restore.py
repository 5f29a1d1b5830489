"""`manage.py after_restore [--spread-minutes M]`."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from clients.models import ApiToken
from connections import restored
from vault import migrated

MOST_MINUTES = 24 * 60.0


class Command(BaseCommand):
    """Make a restored database fit to serve."""

    help = (
        "Run after a database was restored from a backup, before the gateway starts: ends every sign-in and consent "
        "of the backup, and spreads the renewals that are all due by now."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--spread-minutes", type=float, default=60.0, metavar="M", help="renew within so many minutes (60)"
        )

    def handle(self, *, spread_minutes: float, **_: Any) -> None:
        """Settle it, and say what is left to do by hand."""
        if not 0 <= spread_minutes <= MOST_MINUTES:
            raise CommandError(f"--spread-minutes takes 0 to {MOST_MINUTES:g}.")
        migrated.require()
        settled = restored.settle(over=timedelta(minutes=spread_minutes))
        self.stdout.write(f"{settled.sign_ins:>8}  sign-ins ended")
        self.stdout.write(f"{settled.consents:>8}  consents under way ended")
        self.stdout.write(f"{settled.renewals:>8}  renewals spread over {spread_minutes:g} minutes")
        tokens = ApiToken.objects.filter(revoked_at__isnull=True).count()
        self.stdout.write(
            f"{tokens:>8}  API tokens work as on the day of the backup. Revoke again what was revoked since, and run "
            "`manage.py offboard USER` again for everybody who has left since."
        )
