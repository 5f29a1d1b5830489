"""Finished calls to rows, many at a time: COPY on PostgreSQL, one prepared statement on SQLite.

The ORM would spend several times as long on each row, on the core that serves the calls.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from audit.redaction import redacted_name
from mcpservers.activity.finished import METHOD_LENGTH, TOOL_LENGTH, FinishedCall
from mcpservers.activity.models import ServerCall

COLUMNS = (
    "at",
    "server_uid",
    "user_id",
    "request_id",
    "method",
    "tool",
    "outcome",
    "status",
    "milliseconds",
    "upstream_milliseconds",
    "bytes_in",
    "bytes_out",
)
_INTO = f"{ServerCall._meta.db_table} ({', '.join(COLUMNS)})"
_INSERT = f"INSERT INTO {_INTO} VALUES ({', '.join(['%s'] * len(COLUMNS))})"  # noqa: S608 - names of our own columns
_COPY = f"COPY {_INTO} FROM STDIN"


def write(calls: Sequence[FinishedCall]) -> None:
    """Write all of these calls or none. Raises DatabaseError."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.copy(_COPY) as copy:
                for row in _rows(calls):
                    copy.write_row(row)
        else:
            cursor.executemany(_INSERT, list(_rows(calls)))


def _rows(calls: Iterable[FinishedCall]) -> Iterable[tuple[Any, ...]]:
    adapt, is_text = connection.ops.adapt_datetimefield_value, not connection.features.has_native_uuid_field
    for call in calls:
        uid = call.server_uid
        yield (
            adapt(datetime.fromtimestamp(call.ended, UTC)),
            uid.hex if is_text and uid else uid,
            call.user_id,
            call.request_id,
            redacted_name(call.method, METHOD_LENGTH),
            redacted_name(call.tool, TOOL_LENGTH),
            call.outcome,
            call.status,
            round(call.milliseconds, 3),
            round(call.upstream_milliseconds, 3),
            call.bytes_in,
            call.bytes_out,
        )
