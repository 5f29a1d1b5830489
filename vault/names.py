"""The two shapes of names that the whole gateway uses (contract §4), and what holds for both: fixed, and unique."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError
from django.db.models import Manager, Model

M = TypeVar("M", bound=Model)

NAME_RULE = "Use 1 to 63 characters: lower-case letters, digits and hyphens, starting with a letter."
REF_RULE = "Use 1 to 128 characters: A-Z, 0-9 and underscore, starting with a letter, for example GITHUB_CLIENT_SECRET."

valid_name = RegexValidator(r"\A[a-z][a-z0-9-]{0,62}\Z", NAME_RULE, code="invalid_name")
valid_ref = RegexValidator(r"\A[A-Z][A-Z0-9_]{0,127}\Z", REF_RULE, code="invalid_ref")


def refuse_changes(rows: Manager[M], changed: M, *fields: str) -> None:
    """Raise ValidationError `immutable` for each of `fields` in which `changed` differs from its stored row, if any."""
    stored = rows.filter(pk=changed.pk).values(*fields).first() if changed.pk else None
    findings = {
        field: ValidationError(
            f"{field} cannot be changed from {value!r}. Delete this one and create another.", code="immutable"
        )
        for field, value in (stored or {}).items()
        if value != getattr(changed, field)
    }
    if findings:
        raise ValidationError(findings)


@contextmanager
def one_per_name(noun: str) -> Iterator[None]:
    """Turn a name that someone took a moment earlier into the finding that `full_clean` would have made."""
    try:
        yield
    except IntegrityError:
        raise name_taken(noun) from None


def name_taken(noun: str) -> ValidationError:
    """Return the finding for a name that is in use."""
    return ValidationError({"name": ValidationError(f"{noun} with this name exists already.", code="unique")})
