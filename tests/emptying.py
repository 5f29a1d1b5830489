"""Empty the database after a transactional test: only what the test filled, and never what a migration made.

Django's flush truncates every table and makes content types, permissions and groups anew, which takes longer than most
tests do. What this cannot put right it leaves to that flush.
"""

import importlib
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, transaction
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models.signals import post_migrate
from django.dispatch import receiver
from django.test import TransactionTestCase

TRAIL = "audit_event"
# Made by migrations, in the order in which rows can be taken away.
MADE = ("auth_group_permissions", "auth_group", "auth_permission", "django_content_type")

Rows = dict[str, set[tuple[Any, ...]]]
_tables: list[str] = []
_made: Rows = {}


def remember() -> None:
    """Note the tables of a fresh test database, and the rows that its migrations made."""
    _tables[:] = [name for name in connection.introspection.django_table_names(only_existing=True) if name not in MADE]
    _made.update(_rows_made())


def empty(_: TransactionTestCase | None = None) -> None:
    """Leave the database as it was when it was fresh."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in _without_triggers([f"DELETE FROM {name}" for name in _filled()]):  # noqa: S608
            cursor.execute(statement)
        is_whole = _takes_away_what_was_added(cursor)
    if not is_whole:
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False)
        remember()
        empty()  # of the announcement that there are new groups


TransactionTestCase._fixture_teardown = empty  # type: ignore[attr-defined]


def _filled() -> list[str]:
    """Return the tables that have rows, in one question."""
    question = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in _tables)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(question)
        return [name for (name,) in cursor.fetchall()]


def _rows_made() -> Rows:
    found: Rows = {}
    with connection.cursor() as cursor:
        for name in MADE:
            cursor.execute(f"SELECT * FROM {name}")  # noqa: S608
            found[name] = set(cursor.fetchall())
    return found


def _takes_away_what_was_added(cursor: Any) -> bool:
    """Take away what a test added to what migrations made; nothing, and say no, when some of that is gone."""
    found = _rows_made()
    if not all(_made[name] <= found[name] for name in MADE):
        return False
    for name in MADE:
        for row in found[name] - _made[name]:
            cursor.execute(f"DELETE FROM {name} WHERE id = %s", [row[0]])  # noqa: S608
    return True


def _without_triggers(statements: list[str]) -> list[str]:
    """Put statements between those that take the triggers of the trail off, if it is to be emptied, and on again."""
    if not any(TRAIL in statement for statement in statements):
        return statements
    off, on = [f"ALTER TABLE {TRAIL} DISABLE TRIGGER USER"], [f"ALTER TABLE {TRAIL} ENABLE TRIGGER USER"]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [TRAIL])
            triggers = cursor.fetchall()
        off, on = [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
    return [*off, *statements, *on]


_execute_sql_flush = BaseDatabaseOperations.execute_sql_flush


def _flush_the_trail_too(self: BaseDatabaseOperations, statements: list[str]) -> None:
    _execute_sql_flush(self, _without_triggers(statements))


BaseDatabaseOperations.execute_sql_flush = _flush_the_trail_too  # type: ignore[method-assign]


@receiver(post_migrate)
def _groups_outlive_a_flush(sender: AppConfig, **_: Any) -> None:
    """Make the groups again that a flush took: in a gateway they come from a migration."""
    if sender.name == "clients" and not Group.objects.exists():
        importlib.import_module("clients.migrations.0002_groups").make_groups(apps, None)
