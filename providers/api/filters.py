"""What a list of providers can be narrowed by."""

from typing import Any

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django_filters.rest_framework import CharFilter, ChoiceFilter

from clients.api.strict import NamedFilter, YesNoFilter
from providers.models import AuthMethod, CallbackMode, GrantType, OAuthProvider


class ProviderFilter(NamedFilter):
    """Exact filters on the enumerated fields; `grant_types` finds those that offer the grant."""

    preset = CharFilter("preset")
    token_endpoint_auth_method = ChoiceFilter(choices=AuthMethod.choices)
    callback_mode = ChoiceFilter(choices=CallbackMode.choices)
    grant_types = ChoiceFilter(choices=GrantType.choices, method="offering")
    require_pkce = YesNoFilter()
    enabled = YesNoFilter()

    def offering(self, rows: QuerySet[OAuthProvider], _: str, grant: Any) -> QuerySet[OAuthProvider]:
        """Narrow to providers that offer `grant`; compared as text, which every database can."""
        as_text = Cast("grant_types", TextField())
        return rows.alias(grants_as_text=as_text).filter(grants_as_text__contains=f'"{grant}"')
