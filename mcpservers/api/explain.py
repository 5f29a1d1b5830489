"""`GET /api/v1/mcp-servers/NAME/explain/`: what would become of a call, and why."""

from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from clients import rights
from clients.api.permissions import caller
from clients.api.strict import refuse_unknown_parameters
from mcpservers import explain

PARAMETERS = [
    OpenApiParameter("user", description="Whose call; without it, your own. Anybody else's is for admins."),
    OpenApiParameter("tool", description="Of which tool; without it, the tool policy is not asked."),
]


class DecisionSerializer(serializers.Serializer[Any]):
    """One decision; a call ends at the first that is not ok."""

    step = serializers.CharField()
    is_ok = serializers.BooleanField()
    detail = serializers.CharField()


class ExplanationSerializer(serializers.Serializer[Any]):
    """The decisions of a dry run, in their order."""

    user = serializers.CharField()
    would_be_sent = serializers.BooleanField()
    decisions = DecisionSerializer(many=True)


class ExplainAction:
    """A viewset mixin: a dry run of a call to the server."""

    get_object: Any

    @extend_schema(parameters=PARAMETERS, responses=ExplanationSerializer, filters=False)
    @action(detail=True, methods=["get"], filter_backends=(), pagination_class=None)
    def explain(self, request: Request, name: str) -> Response:
        """Say what would become of a call, decision by decision. Nothing is sent, and no token is opened."""
        server = self.get_object()
        refuse_unknown_parameters(request.query_params, ["user", "tool"], paging=())
        user = _asked_about(caller(request), request.query_params.get("user", ""))
        found = explain.explain(server, user, actor=caller(request), tool=request.query_params.get("tool", ""))
        body = {
            "user": user.get_username(),
            "would_be_sent": all(decision.is_ok for decision in found),
            "decisions": found,
        }
        return Response(ExplanationSerializer(body).data)


def _asked_about(actor: User, name: str) -> User:
    try:
        user = explain.asked_about(actor, name)
    except rights.PermissionRefused as refused:
        raise PermissionDenied(refused.detail) from None
    if user is None:
        raise ValidationError({"user": ErrorDetail("There is no such user.", "not_found")})
    return user
