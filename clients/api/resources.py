"""The viewset that every named resource is: rows the caller may view, looked up by name, strict about its input."""

from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.viewsets import ModelViewSet

from clients import rights
from clients.api.grants import PermissionActions
from clients.api.permissions import ObjectRights
from clients.api.strict import StrictFilterBackend, StrictOrdering

M = TypeVar("M", bound=Model)


class NamedResource(PermissionActions, ModelViewSet[M]):
    """List, create, read, change and delete, and who may do so; subclasses name queryset, serializer and filters."""

    lookup_field = "name"
    lookup_value_regex = r"[a-z][a-z0-9-]{0,62}"
    permission_classes = (ObjectRights,)
    filter_backends = (StrictFilterBackend, StrictOrdering)
    filterset_class: ClassVar[type[Any]]
    ordering: ClassVar[tuple[str, ...]] = ("name",)
    ordering_fields: ClassVar[tuple[str, ...]] = ("name", "created_at", "updated_at")

    def get_queryset(self) -> QuerySet[M]:
        """Return the rows that the caller may view."""
        return rights.allowed(self.request.user, "view", super().get_queryset())

    def get_success_headers(self, data: Any) -> dict[str, str]:
        """Send no Location: DRF would take the field `url`, which is where an MCP server is, not the new resource."""
        return {}
