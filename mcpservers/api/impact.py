"""The JSON of the question how many users would have to reconnect, and of its answer."""

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework.exceptions import ErrorDetail, ValidationError

from clients.api.strict import StrictFields, StringList
from providers.api.impact import ImpactSerializer
from providers.validation import scope_findings

SCOPE_IMPACT_EXAMPLES = [
    OpenApiExample("One scope", {"required_scopes": ["repo"]}, request_only=True),
    OpenApiExample(
        "Two lack it",
        {
            "reconnects": 2,
            "detail": "2 connections have to reconnect to be granted repo; until then their calls of issues are "
            "answered scope_upgrade_required.",
        },
        response_only=True,
    ),
]
__all__ = ["SCOPE_IMPACT_EXAMPLES", "ImpactSerializer", "RequiredScopesSerializer"]


class RequiredScopesSerializer(StrictFields):
    """The scopes that the server would need."""

    required_scopes = StringList()

    def validate_required_scopes(self, scopes: Any) -> list[str]:
        """Check them as the server would (RFC 6749 §3.3)."""
        for _, sentence in scope_findings(scopes):
            raise ValidationError(ErrorDetail(sentence, "invalid_scopes"))
        checked: list[str] = scopes
        return checked
