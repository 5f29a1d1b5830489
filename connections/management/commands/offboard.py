"""`manage.py offboard USER [--keep-user]`."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from connections import offboarding
from connections.offboarding import Report
from connections.revocation import Outcome
from vault import migrated

WORDS = {
    Outcome.REVOKED: "revoked: the provider confirmed",
    Outcome.UNSUPPORTED: "unsupported: the provider offers no revocation, its token lapses by itself",
    Outcome.PENDING: "pending: the provider did not answer and is asked again in the background",
    Outcome.FAILED: "failed: the provider could not be told",
    Outcome.NOT_CONNECTED: "not_connected: no token was left to revoke",
}
ENDED = {
    "sign_ins": "sign-ins ended",
    "api_tokens": "API tokens revoked",
    "mcp_sessions": "MCP sessions ended",
    "consents": "consents under way dropped",
}


class Command(BaseCommand):
    """End everything of a departing user, and print what was ended."""

    help = (
        "Deactivate a user, end their sign-ins, MCP sessions and consents, revoke their API tokens, and disconnect "
        "all their connections, telling every provider. May be run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("user", help="username")
        parser.add_argument("--keep-user", action="store_true", help="end everything, but let the user sign in again")

    def handle(self, *, user: str, keep_user: bool, **_: Any) -> None:
        """Find the user, end everything, print the report."""
        migrated.require()
        found = User.objects.filter(username=user).first()
        if found is None:
            raise CommandError(
                f"There is no user {user!r}. What a deleted user left, `manage.py collect_vault` collects."
            )
        self._print(offboarding.offboard(found, keep_user=keep_user, actor=None))

    def _print(self, report: Report) -> None:
        account = "still active" if report.is_active else "deactivated" if report.was_active else "was inactive already"
        rows = [("account", account)]
        rows += [(ENDED.get(what, what), str(count)) for what, count in report.ended.items()]
        rows += [("connections ended", str(len(report.connections)))]
        rows += [(f"  {provider}", WORDS[outcome]) for provider, outcome in report.connections]
        rows += [("revocations waiting", str(report.revocations_waiting))]
        width = max(len(name) for name, _ in rows)
        self.stdout.write(f"Offboarded {report.user}")
        for name, value in rows:
            self.stdout.write(f"{name:<{width}}  {value}")
