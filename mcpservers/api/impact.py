"""The JSON of the question how many users would have to reconnect, and of its answer."""

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework.exceptions import ErrorDetail, ValidationError

from clients.api.strict import Object, StrictFields, StringList
from mcpservers import validation
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
AUTH_IMPACT_EXAMPLES = [
    OpenApiExample(
        "To user mode",
        {"auth": {"mode": "user_oauth", "provider_name": "github", "required_scopes": ["repo"]}},
        request_only=True,
    ),
    OpenApiExample(
        "Three must connect",
        {
            "reconnects": 3,
            "detail": "3 users who may use issues have to connect GitHub first; until then their calls are answered "
            "with the link to do so. No connection is deleted.",
        },
        response_only=True,
    ),
]
__all__ = [
    "AUTH_IMPACT_EXAMPLES",
    "AuthSerializer",
    "SCOPE_IMPACT_EXAMPLES",
    "ImpactSerializer",
    "RequiredScopesSerializer",
]


class RequiredScopesSerializer(StrictFields):
    """The scopes that the server would need."""

    required_scopes = StringList()

    def validate_required_scopes(self, scopes: Any) -> list[str]:
        """Check them as the server would (RFC 6749 §3.3)."""
        for _, sentence in scope_findings(scopes):
            raise ValidationError(ErrorDetail(sentence, "invalid_scopes"))
        checked: list[str] = scopes
        return checked


class AuthSerializer(StrictFields):
    """How the server would authenticate."""

    auth = Object()

    def validate_auth(self, auth: Any) -> dict[str, Any]:
        """Check it as the server would."""
        for _, finding in validation.auth_findings(auth):
            raise ValidationError(ErrorDetail(finding.messages[0], str(finding.code)))
        checked: dict[str, Any] = auth
        return checked
