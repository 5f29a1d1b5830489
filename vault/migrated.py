"""Does the database have the tables of this version? Asked by whoever is about to use them."""

from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def pending() -> int:
    """Return how many migrations of this version the database lacks; none where a newer version has migrated it."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def require() -> None:
    """Raise CommandError, saying what to do, unless there are none."""
    if lacking := pending():
        raise CommandError(f"The database lacks migrations: {lacking}. Run `manage.py migrate` first.")
