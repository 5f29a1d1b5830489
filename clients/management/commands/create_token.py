"""`manage.py create_token USER [--name N] [--expires-days D]`."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from clients import tokens

LONGEST_DAYS = 36500


class Command(BaseCommand):
    """Make an API token; the token alone is on the last line, shown this once."""

    help = "Make an API token for a user. The token alone is on the last line; it is not shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("user", help="username of an active user")
        parser.add_argument("--name", default="command line", help="what the token is for (at most 100 characters)")
        parser.add_argument("--expires-days", type=int, metavar="D", help="days until it ends; without it, never")

    def handle(self, *, user: str, name: str, expires_days: int | None, **_: Any) -> None:
        """Check the options, make the token, print it."""
        owner = _owner(user)
        if not 1 <= len(name.strip()) <= 100:
            raise CommandError("--name takes 1 to 100 characters.")
        if expires_days is not None and not 1 <= expires_days <= LONGEST_DAYS:
            raise CommandError(f"--expires-days takes 1 to {LONGEST_DAYS} days. Leave it out for a token without end.")
        expires_at = timezone.now() + timedelta(days=expires_days) if expires_days else None
        row, token = tokens.create(owner, name=name.strip(), expires_at=expires_at)
        ends = f"ends {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "does not end by itself"
        self.stderr.write(f"Token “{row.name}” of {owner.get_username()}, {ends}. Keep it safe: it is not shown again.")
        self.stdout.write(token)


def _owner(username: str) -> User:
    try:
        user = User.objects.filter(username=username).first()
    except DatabaseError as exc:
        raise CommandError("The database has no users table yet. Start the gateway once with `make run`.") from exc
    if user is None:
        raise CommandError(
            f"There is no user {username!r}. Make one in the admin, or with `manage.py createsuperuser`."
        )
    if not user.is_active:
        raise CommandError(f"User {username!r} is not active, so a token would not work. Activate the user first.")
    return user
