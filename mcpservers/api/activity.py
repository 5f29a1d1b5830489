"""`NAME/activity/` of a server: its last calls, and what they add up to."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from clients.api.permissions import caller
from clients.api.strict import refuse_unknown_parameters
from mcpservers.activity import reading
from mcpservers.activity.outcomes import Outcome
from mcpservers.activity.reading import Rows, Wanted
from mcpservers.models import MCPServer

OUTCOMES = ("errors", *Outcome.values)
TIMES = [
    OpenApiParameter("since", datetime, description="Calls that ended at this time or later."),
    OpenApiParameter("until", datetime, description="Calls that ended before this time."),
]
FILTERS = [
    OpenApiParameter("user", description="A username. Who may not change the server sees their own calls only."),
    OpenApiParameter("tool", description="What a tools/call or prompts/get named."),
    OpenApiParameter("outcome", enum=OUTCOMES, description="`errors`: all that are faults."),
    *TIMES,
]
PAGES = [OpenApiParameter("page", int), OpenApiParameter("page_size", int)]


class CallSerializer(serializers.Serializer[Any]):
    """One request to the server, without anything that was said in it."""

    at = serializers.DateTimeField()
    request_id = serializers.CharField()
    user = serializers.CharField(allow_null=True, help_text="null when the user was deleted")
    method = serializers.CharField(help_text="JSON-RPC's, `response`, or GET or DELETE of a session")
    tool = serializers.CharField()
    outcome = serializers.ChoiceField(Outcome.values)
    status = serializers.IntegerField(help_text="HTTP's; 0 when there was no answer")
    milliseconds = serializers.FloatField()
    upstream_milliseconds = serializers.FloatField(help_text="of these, the wait for the server")
    bytes_in = serializers.IntegerField()
    bytes_out = serializers.IntegerField()


class TotalSerializer(serializers.Serializer[Any]):
    """What some calls add up to."""

    calls = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]
    p50_milliseconds = serializers.FloatField(source="p50")
    p95_milliseconds = serializers.FloatField(source="p95")


class OfToolSerializer(TotalSerializer):
    """Those of one tool."""

    tool = serializers.CharField(source="name")


class OfUserSerializer(TotalSerializer):
    """Those of one user."""

    user = serializers.SerializerMethodField()

    @extend_schema(responses={"type": ["string", "null"]})
    def get_user(self, share: reading.Share) -> str | None:
        """Return the username; null when the user was deleted."""
        return share.name or None


class SummarySerializer(TotalSerializer):
    """All of them, by tool and by user, the busiest first. Streams that are listened to are left out."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    is_cut = serializers.BooleanField(help_text="there were more calls; those from `since` on are counted")
    by_tool = OfToolSerializer(many=True)
    by_user = OfUserSerializer(many=True)


class ActivityActions:
    """The two routes; a mixin of the servers' viewset."""

    get_object: Any
    paginate_queryset: Any
    get_paginated_response: Any

    @extend_schema(parameters=[*FILTERS, *PAGES], responses=CallSerializer(many=True), filters=False)
    @action(detail=True, methods=["get"], filter_backends=())
    def activity(self, request: Request, name: str) -> Response:
        """Return the last calls, the newest first; 10,000 at the most, page by page.

        A tool or an outcome is sought among the newest 100,000 calls of the time and the user that are asked for.
        """
        rows = self._calls(request, ("user", "tool", "outcome", "since", "until", "page", "page_size"))
        page: Any = self.paginate_queryset(reading.last(rows))
        names = reading.usernames(call.user_id for call in page)
        for call in page:
            call.user = names.get(call.user_id)
        answer: Response = self.get_paginated_response(CallSerializer(page, many=True).data)
        return answer

    @extend_schema(parameters=TIMES, responses=SummarySerializer, filters=False)
    @action(detail=True, methods=["get"], url_path="activity/summary", filter_backends=(), pagination_class=None)
    def activity_summary(self, request: Request, name: str) -> Response:
        """Return calls, errors and how long they took, by tool and by user: of the last 24 hours, by default.

        At most the newest 10,000 calls are added up; `is_cut` says that there were more.
        """
        rows = self._calls(request, ("since", "until"))
        until = _moment(request, "until") or timezone.now()
        found = reading.summary(rows, _moment(request, "since") or until - timedelta(days=1), until)
        return Response(SummarySerializer({**_fields(found), **_fields(found.whole)}).data)

    def _calls(self, request: Request, known: tuple[str, ...]) -> Rows:
        """Return the calls asked for. Raises ValidationError."""
        server: MCPServer = self.get_object()
        refuse_unknown_parameters(request.query_params, known, paging=())
        user, tool, outcome = (request.query_params.get(key, "") for key in ("user", "tool", "outcome"))
        if outcome not in ("", *OUTCOMES):
            text = f"There is no such outcome. Use one of {', '.join(OUTCOMES)}."
            raise ValidationError({"outcome": ErrorDetail(text, "invalid_choice")})
        wanted = Wanted(user, tool, outcome, _moment(request, "since"), _moment(request, "until"))
        return reading.narrowed(reading.calls(caller(request), server), wanted)


def _moment(request: Request, name: str) -> datetime | None:
    """Read a time. Raises ValidationError unless it says its time zone."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValidationError({name: ErrorDetail("Give a time like 2026-05-14T09:30:00Z.", "invalid")})
    return found


def _fields(of: Any) -> dict[str, Any]:
    return {name: getattr(of, name) for name in of.__slots__}
