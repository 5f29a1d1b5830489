"""The JSON of a connection (contract §4). Of its provider only name, display name and scopes are shown."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from connections.listing import Connection, Status
from connections.models import DeviceState
from connections.revocation import Outcome

_CONNECTED = OpenApiExample(
    "Connected",
    {
        "provider": "github",
        "display_name": "GitHub",
        "account": "alice",
        "status": "connected",
        "scopes_requested": ["read:user"],
        "scopes_granted": ["read:user"],
        "connected_at": "2026-01-02T03:04:05Z",
        "last_used_at": None,
        "expires_at": None,
        "refresh_token_present": False,
        "refresh_token_expires_at": None,
        "attention_reason": "",
    },
    response_only=True,
)
_CODE = OpenApiExample(
    "A code to enter",
    {
        "user_code": "WDJB-MJHT",
        "verification_uri": "https://auth.example.com/device",
        "verification_uri_complete": "https://auth.example.com/device?user_code=WDJB-MJHT",
        "expires_in": 900,
        "interval": 5,
    },
    response_only=True,
)
_DENIED = OpenApiExample(
    "Denied at the provider",
    {
        "state": "denied",
        "reason": "access_denied",
        "detail": "You, or GitHub, said no. Nothing was connected. To connect after all, get a new code.",
        "expires_at": "2026-01-02T03:19:05Z",
    },
    response_only=True,
)
_REVOKED = OpenApiExample("Revoked at the provider as well", {"revocation": "revoked"}, response_only=True)


@extend_schema_serializer(examples=[_CONNECTED])
class ConnectionSerializer(serializers.Serializer[Connection]):
    """A provider, and what the caller has there."""

    provider = serializers.CharField()
    display_name = serializers.CharField()
    account = serializers.CharField()
    status = serializers.ChoiceField(choices=[status.value for status in Status])
    scopes_requested = serializers.ListField(child=serializers.CharField())
    scopes_granted = serializers.ListField(child=serializers.CharField())
    connected_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    refresh_token_present = serializers.BooleanField()
    refresh_token_expires_at = serializers.DateTimeField(allow_null=True)
    attention_reason = serializers.CharField()


class AuthorizeSerializer(serializers.Serializer[Any]):
    """Where the caller goes to connect."""

    authorize_url = serializers.URLField()


@extend_schema_serializer(examples=[_CODE])
class DeviceSerializer(serializers.Serializer[Any]):
    """What the caller shows to its user (RFC 8628 §3.2); the gateway does the polling. Durations are seconds."""

    user_code = serializers.CharField()
    verification_uri = serializers.URLField()
    verification_uri_complete = serializers.CharField(help_text="Empty where the provider has none.")
    expires_in = serializers.IntegerField()
    interval = serializers.IntegerField()


@extend_schema_serializer(examples=[_DENIED])
class DeviceStateSerializer(serializers.Serializer[Any]):
    """How the caller's last code fares; never the code itself."""

    state = serializers.ChoiceField(choices=DeviceState.choices)
    reason = serializers.CharField(help_text="The provider's error code, or the gateway's; empty while all is well.")
    detail = serializers.CharField(help_text="What happened and what to do, in words; empty while it waits.")
    expires_at = serializers.DateTimeField()


@extend_schema_serializer(examples=[_REVOKED])
class DisconnectedSerializer(serializers.Serializer[Any]):
    """What became of the tokens at the provider."""

    revocation = serializers.ChoiceField(choices=[outcome.value for outcome in Outcome])
