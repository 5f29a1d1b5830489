"""Narrow and order a caller's connections: a short list that is put together, not a table."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from clients.api.strict import read_ordering, refuse_unknown_parameters
from connections.listing import Connection, Status

FILTERS = ("name_contains", "status")
ORDERINGS = ("provider", "display_name", "status", "connected_at", "last_used_at", "expires_at")


def narrowed(rows: list[Connection], params: Mapping[str, str]) -> list[Connection]:
    """Return the rows asked for, in the order asked for. Raises ValidationError."""
    refuse_unknown_parameters(params, FILTERS)
    part, status = params.get("name_contains", "").casefold(), params.get("status", "")
    if status and status not in set(Status):
        text = f"{status[:40]!r} is no status. Use one of {', '.join(Status)}."
        raise ValidationError({"status": ErrorDetail(text, "invalid_choice")})
    rows = [row for row in rows if part in row.provider.casefold() and status in ("", row.status)]
    for term in reversed(read_ordering(params, ORDERINGS)):
        rows.sort(key=lambda row: _sortable(getattr(row, term.removeprefix("-"))), reverse=term.startswith("-"))  # noqa: B023
    return rows


def _sortable(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else "")
