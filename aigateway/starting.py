"""What every process of the gateway makes sure of before it does anything: settings, tables and keys."""

from django.core.checks import CheckMessage, Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from aigateway import checks, migrating
from vault import keycheck


def verify() -> None:
    """Refuse to run with unsafe settings, an older version's tables, or keys that are not this database's.

    Raises ImproperlyConfigured with the ids of the failed checks, or naming the command to migrate, or FERNET_KEYS.
    Closes the connection it used: the thread that calls may have no other work for it.
    """
    found = run_checks(tags=[checks.TAG, Tags.security])
    if errors := [message for message in found if message.is_serious()]:
        raise ImproperlyConfigured(" ".join(in_a_line(message) for message in errors))
    try:
        if lacking := migrating.pending():
            raise ImproperlyConfigured(f"The database lacks migrations: {lacking}. Run `manage.py migrate` first.")
        keycheck.verify()
    finally:
        connection.close()


def in_a_line(message: CheckMessage) -> str:
    """Say a check message in one line: id, what is wrong, the way out."""
    return f"({message.id}) {message.msg}" + (f" {message.hint}" if message.hint else "")
