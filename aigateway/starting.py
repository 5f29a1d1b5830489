"""What every process of the gateway makes sure of before it does anything: safe settings, the right keys."""

from django.core.checks import CheckMessage, Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from aigateway import checks
from vault import keycheck


def verify() -> None:
    """Refuse to run with unsafe settings or keys that are not this database's.

    Raises ImproperlyConfigured with the ids of the failed checks, or naming FERNET_KEYS. Closes the
    connection it used: the thread that calls may have no other work for it.
    """
    found = run_checks(tags=[checks.TAG, Tags.security])
    if errors := [message for message in found if message.is_serious()]:
        raise ImproperlyConfigured(" ".join(in_a_line(message) for message in errors))
    try:
        keycheck.verify()
    finally:
        connection.close()


def in_a_line(message: CheckMessage) -> str:
    """Say a check message in one line: id, what is wrong, the way out."""
    return f"({message.id}) {message.msg}" + (f" {message.hint}" if message.hint else "")
