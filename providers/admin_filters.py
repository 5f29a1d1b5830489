"""What the admin's list of providers can be narrowed by."""

from typing import Any, cast

from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest

from providers import presets
from providers.models import GrantType, OAuthProvider

CUSTOM = "-"


class GrantTypeFilter(SimpleListFilter):
    """Providers that offer a grant."""

    title, parameter_name = "grant type", "grant_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer every grant."""
        return [(value, str(label)) for value, label in GrantType.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow; compared as text, which every database can."""
        if self.value() not in GrantType.values:
            return queryset
        rows = queryset.alias(grants_as_text=Cast("grant_types", TextField()))
        narrowed: QuerySet[Any] = rows.filter(grants_as_text__contains=f'"{self.value()}"')
        return narrowed


class StatusFilter(SimpleListFilter):
    """Providers that are switched on or off."""

    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("enabled", "Enabled"), ("disabled", "Disabled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow."""
        if self.value() in {"enabled", "disabled"}:
            return queryset.filter(enabled=self.value() == "enabled")
        return queryset


class CategoryFilter(SimpleListFilter):
    """Providers by the category of their preset."""

    title, parameter_name = "category", "category"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the catalog's categories."""
        return [*((category, category) for category in presets.CATEGORIES), (CUSTOM, "Custom provider")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow."""
        if self.value() == CUSTOM:
            return queryset.filter(preset="")
        if self.value() in presets.CATEGORIES:
            named = [preset.name for preset in presets.search(category=cast(str, self.value()))]
            return queryset.filter(preset__in=named)
        return queryset


class PresetFilter(SimpleListFilter):
    """Providers that were made from one preset."""

    title, parameter_name = "preset", "preset"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the presets in use."""
        used = set(model_admin.get_queryset(request).exclude(preset="").order_by().values_list("preset", flat=True))
        found = [(name, presets.get(name)) for name in sorted(used)]
        return [(name, preset.display_name if preset else name) for name, preset in found]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow."""
        return queryset.filter(preset=self.value()) if self.value() else queryset


def category_of(provider: OAuthProvider) -> str:
    """Return the category of the provider's preset."""
    preset = presets.get(provider.preset)
    return preset.category if preset else "Custom provider"
