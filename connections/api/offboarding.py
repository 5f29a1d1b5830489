"""`/api/v1/users/USERNAME/offboard/`: for superusers and the group `admins`."""

from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from clients import rights
from clients.api.permissions import caller
from clients.api.strict import StrictFields
from clients.rights import PermissionRefused
from connections import offboarding
from connections.offboarding import Report
from connections.revocation import Outcome


class OffboardSerializer(StrictFields):
    """What to leave."""

    keep_user = serializers.BooleanField(default=False, help_text="Let the user sign in again.")


class EndedConnectionSerializer(serializers.Serializer[Any]):
    """A provider, and what became of the tokens there."""

    provider = serializers.CharField()
    revocation = serializers.ChoiceField(choices=[outcome.value for outcome in Outcome])


class ReportSerializer(serializers.Serializer[Any]):
    """What was ended by this request; all zero when it was ended before."""

    user = serializers.CharField()
    is_active = serializers.BooleanField()
    sign_ins = serializers.IntegerField()
    api_tokens = serializers.IntegerField()
    mcp_sessions = serializers.IntegerField()
    consents = serializers.IntegerField(help_text="Consents and device requests under way.")
    connections = EndedConnectionSerializer(many=True)
    revocations_waiting = serializers.IntegerField(help_text="What the background goes on trying, for this user.")


EXAMPLE = OpenApiExample(
    "Report",
    {
        "user": "alice",
        "is_active": False,
        "sign_ins": 2,
        "api_tokens": 1,
        "mcp_sessions": 3,
        "consents": 0,
        "connections": [{"provider": "github", "revocation": "revoked"}],
        "revocations_waiting": 0,
    },
    response_only=True,
)


class UserViewSet(GenericViewSet):  # type: ignore[type-arg]
    """Users, as far as their access is concerned."""

    serializer_class = OffboardSerializer
    queryset = User.objects.all()
    filter_backends = ()
    lookup_field = "username"
    lookup_value_regex = r"[\w.@+-]{1,150}"

    @extend_schema(request=OffboardSerializer, responses=ReportSerializer, examples=[EXAMPLE])
    @action(detail=True, methods=["post"])
    def offboard(self, request: Request, username: str) -> Response:
        """End all access of a departing user, tell the providers, and report; it may be asked for again."""
        actor = caller(request)
        if not rights.is_admin(actor):  # before the user is looked for: nobody else learns who there is
            raise PermissionRefused("permission_denied", offboarding.ADMINS_ONLY)
        sent = OffboardSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        user = User.objects.filter(username=username).first()
        if user is None:
            raise NotFound
        offboarding.require_may_offboard(actor, user)
        report = offboarding.offboard(user, keep_user=sent.validated_data["keep_user"], actor=actor)
        return Response(ReportSerializer(_shown(report)).data)


def _shown(report: Report) -> dict[str, Any]:
    return {
        "user": report.user,
        "is_active": report.is_active,
        **report.ended,
        "connections": [{"provider": name, "revocation": outcome.value} for name, outcome in report.connections],
        "revocations_waiting": report.revocations_waiting,
    }
