"""What the list of connections can be narrowed by."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from providers.models import OAuthProvider


class AttentionFilter(admin.SimpleListFilter):
    """Connections that wait for their user."""

    title = "status"
    parameter_name = "status"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        """Offer the two."""
        return [("connected", "Connected"), ("needs_attention", "Needs attention")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow to those with or without a recorded reason."""
        if self.value() == "connected":
            return queryset.filter(attention_reason="")
        return queryset.exclude(attention_reason="") if self.value() else queryset


class ProviderFilter(admin.SimpleListFilter):
    """Connections of one provider."""

    title = "OAuth provider"
    parameter_name = "provider"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        """Offer the providers by name."""
        return [(row.name, row.display_name) for row in OAuthProvider.objects.only("name", "display_name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow to the provider that has this name now."""
        if not self.value():
            return queryset
        return queryset.filter(provider_uid__in=OAuthProvider.objects.filter(name=self.value()).values("uid"))
