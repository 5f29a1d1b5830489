"""`/api/v1/connections/`: always and only the caller's own."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from clients.api.errors import NotAnswered
from clients.api.permissions import caller
from clients.api.strict import NoFields
from connections import device as codes
from connections import device_words, listing, revocation
from connections.api.filters import ORDERINGS, narrowed
from connections.api.serializers import (
    AuthorizeSerializer,
    ConnectionSerializer,
    DeviceSerializer,
    DeviceStateSerializer,
    DisconnectedSerializer,
)
from connections.destinations import disabled
from connections.listing import Connection, Status
from connections.models import DeviceRequest, DeviceState
from connections.refusals import ASK_ADMIN, Code, ConsentRefused

LIST_PARAMETERS = [
    OpenApiParameter("name_contains"),
    OpenApiParameter("status", enum=list(Status)),
    OpenApiParameter("ordering", description=f"One of {', '.join(ORDERINGS)}; a minus before it reverses."),
]


class ConnectionViewSet(GenericViewSet):  # type: ignore[type-arg]
    """Connections: what the caller has at each provider, how to connect, and how to end it."""

    serializer_class = ConnectionSerializer
    filter_backends = ()
    lookup_field = "provider"
    lookup_value_regex = r"[a-z][a-z0-9-]{0,62}"

    @extend_schema(parameters=LIST_PARAMETERS, responses=ConnectionSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Return every provider that the caller can connect or has connected."""
        rows = narrowed(listing.connections_of(caller(request)), request.query_params)
        page: Any = self.paginate_queryset(rows)
        return self.get_paginated_response(ConnectionSerializer(page, many=True).data)

    @extend_schema(responses=ConnectionSerializer)
    def retrieve(self, request: Request, provider: str) -> Response:
        """Return one connection."""
        return Response(ConnectionSerializer(self._own(request, provider)).data)

    @extend_schema(responses={200: DisconnectedSerializer})
    def destroy(self, request: Request, provider: str) -> Response:
        """Disconnect: unusable here at once; the answer says what the provider made of it."""
        connection = self._own(request, provider)
        user = caller(request)
        outcome = revocation.disconnect(user.pk, connection.provider_uid, reason="user_disconnected", actor=user)
        return Response({"revocation": outcome.value})

    @extend_schema(request=NoFields, responses=AuthorizeSerializer)
    @action(detail=True, methods=["post"])
    def authorize(self, request: Request, provider: str) -> Response:
        """Return a link, good for one hour and for the caller only, that starts consent."""
        NoFields(data=request.data).is_valid(raise_exception=True)
        connection = self._own(request, provider)
        if not connection.can_connect:
            text = f"{connection.display_name} cannot be connected now: it offers no browser consent."
            raise _not_available(connection, text, "consent_not_available")
        return Response({"authorize_url": connection.authorize_url})

    @extend_schema(request=NoFields, responses=DeviceSerializer)
    @action(detail=True, methods=["post"])
    def device(self, request: Request, provider: str) -> Response:
        """Return a code to enter at the provider, in any browser; the gateway waits for it and stores (RFC 8628).

        It takes the place of an earlier one. The connection's `status` says when it is done.
        """
        NoFields(data=request.data).is_valid(raise_exception=True)
        connection = self._own(request, provider)
        if not connection.can_use_code:
            text = f"{connection.display_name} offers no way to connect with a code: it has no endpoint for that."
            raise _not_available(connection, text, Code.DEVICE_NOT_AVAILABLE)
        try:
            started = codes.start(caller(request), connection.provider_uid, connection.wanted)
        except ConsentRefused as refused:
            raise _as_api_error(refused) from None
        return Response(DeviceSerializer(_shown(started)).data, headers={"Cache-Control": "no-store"})

    @extend_schema(responses=DeviceStateSerializer)
    @device.mapping.get
    def device_state(self, request: Request, provider: str) -> Response:
        """Return how the caller's last code fares; 404 when there is none, or its end is a while ago."""
        connection = self._own(request, provider)
        asked = codes.latest(caller(request), connection.provider_uid)
        if asked is None:
            raise NotFound
        return Response(DeviceStateSerializer(_state(asked, connection)).data, headers={"Cache-Control": "no-store"})

    def _own(self, request: Request, provider: str) -> Connection:
        connection = listing.connection_of(caller(request), provider)
        if connection is None:
            raise NotFound
        return connection


def _not_available(connection: Connection, text: str, code: str) -> ValidationError:
    """Say why it cannot be connected so: first of all that the provider is disabled."""
    if not connection.is_enabled:
        text, code = f"{disabled(connection.display_name)} {ASK_ADMIN}", Code.PROVIDER_NOT_FOUND
    return ValidationError({"provider": ErrorDetail(text, code)})


def _shown(started: DeviceRequest) -> dict[str, object]:
    code = codes.user_code(started)
    if code is None:  # an administrator took the key away this very moment
        raise NotFound
    return {
        "user_code": code.user_code,
        "verification_uri": code.verification_uri,
        "verification_uri_complete": code.verification_uri_complete,
        "expires_in": round((code.expires_at - started.created_at).total_seconds()),
        "interval": round(code.interval),
    }


def _state(asked: DeviceRequest, connection: Connection) -> dict[str, object]:
    state = asked.state_at(timezone.now())
    said = () if state is DeviceState.PENDING else device_words.outcome(state, asked.reason, connection.display_name)
    return {
        "state": state.value,
        "reason": asked.reason,
        "detail": " ".join(part for part in said if part),
        "expires_at": asked.expires_at,
    }


def _as_api_error(refused: ConsentRefused) -> APIException:
    """Say whose fault it is: the request's (400), or that of a provider that did not answer as it should (502)."""
    text = f"{refused.what} {refused.then}"
    if refused.code in (Code.DEVICE_UNAVAILABLE, Code.DEVICE_BAD_ANSWER):
        return NotAnswered(text, refused.code)
    return ValidationError({"provider": ErrorDetail(text, refused.code)})
