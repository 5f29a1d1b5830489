"""Nothing is ignored: an unknown body field, filter or ordering is a 400 that lists what there is (contract §4)."""

from collections.abc import Collection, Mapping
from typing import Any

from django_filters import FilterSet
from django_filters.rest_framework import CharFilter, ChoiceFilter, DjangoFilterBackend
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.filters import OrderingFilter
from rest_framework.serializers import JSONField, Serializer

PAGING = ("ordering", "page", "page_size")


class StrictFields(Serializer[Any]):
    """A serializer mixin: a body field that cannot be set is refused."""

    def to_internal_value(self, data: Any) -> Any:
        """Read the body. Raises ValidationError."""
        if isinstance(data, Mapping):
            findings = {str(name)[:80]: _unsettable(self, name) for name in data if not _settable(self, name)}
            if findings:
                raise ValidationError(findings)
        return super().to_internal_value(data)


class NoFields(StrictFields):
    """The body of an action that takes none."""


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class StringList(JSONField):
    """A list of strings, checked by the model, whose findings carry the contract's codes."""


@extend_schema_field({"type": "object", "additionalProperties": True})
class Object(JSONField):
    """An object, checked by the model."""


class NamedFilter(FilterSet):  # type: ignore[misc]
    """The filter that every resource has."""

    name_contains = CharFilter("name", "icontains")


class YesNoFilter(ChoiceFilter):  # type: ignore[misc]
    """`true` or `false`, and nothing else."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[("true", "true"), ("false", "false")], **kwargs)

    def filter(self, qs: Any, value: str) -> Any:
        """Narrow to the rows where the field is so."""
        return super().filter(qs, {"true": True, "false": False}.get(value, value))


class StrictFilterBackend(DjangoFilterBackend):  # type: ignore[misc]
    """Filters of the view's FilterSet, and `view.parameters` of an action; any other query parameter is refused."""

    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        """Return the rows asked for. Raises ValidationError."""
        own = getattr(view, "parameters", {}).get(view.action, ())
        refuse_unknown_parameters(request.query_params, {*view.filterset_class.base_filters, *own})
        return super().filter_queryset(request, queryset, view)


class StrictOrdering(OrderingFilter):
    """`?ordering=-created_at` by the view's `ordering_fields`; rows that tie keep one order."""

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> list[str]:
        """Return what to order by. Raises ValidationError."""
        wanted = read_ordering(request.query_params, view.ordering_fields)
        return [*(wanted or view.ordering), "pk"]


def read_ordering(params: Mapping[str, str], allowed: Collection[str]) -> list[str]:
    """Return the terms of `?ordering=`, each a field with maybe a minus before it. Raises ValidationError."""
    terms = [term.strip() for term in params.get("ordering", "").split(",") if term.strip()]
    unknown = [term for term in terms if term.removeprefix("-") not in allowed]
    if unknown:
        text = f"Lists cannot be ordered by {unknown[0][:80]!r}. Use one of {', '.join(sorted(allowed))}."
        raise ValidationError({"ordering": ErrorDetail(text, "unknown_ordering")})
    return terms


def refuse_unknown_parameters(
    params: Mapping[str, str], filters: Collection[str], *, paging: Collection[str] = PAGING
) -> None:
    """Raise ValidationError for a query parameter that is neither a filter nor one of `paging`."""
    known = sorted({*filters, *paging})
    unknown = [name for name in params if name not in known]
    if unknown:
        text = f"There is no such filter. Use one of {', '.join(known)}."
        raise ValidationError({name[:80]: ErrorDetail(text, "unknown_filter") for name in unknown})


def _settable(serializer: Serializer[Any], name: Any) -> bool:
    field = serializer.fields.get(name)
    return field is not None and not field.read_only


def _unsettable(serializer: Serializer[Any], name: Any) -> ErrorDetail:
    if name in serializer.fields:
        return ErrorDetail("This is read only; leave it out.", "read_only")
    known = ", ".join(sorted(name for name, field in serializer.fields.items() if not field.read_only))
    return ErrorDetail(
        f"There is no such field. {f'Use {known}.' if known else 'Send an empty body.'}", "unknown_field"
    )
