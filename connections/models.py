"""What is remembered while a user decides at a provider: ConsentRequest in this browser, DeviceRequest in any; and how
a provider fares and is asked: ProviderHealth, ProviderSlot."""

import uuid
from datetime import datetime
from typing import ClassVar

from django.db import models

from vault.fields import SealedTextField
from vault.rows import SealedModel, SealedQuerySet


class ConsentRequest(SealedModel):
    """One trip to a provider. `state` is kept as a digest only and is good once, for ten minutes.

    Deleted by the callback that presents the state, in the same statement that finds it; abandoned ones go
    with `connections.cleanup`.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    state_digest = models.CharField(max_length=64, unique=True)
    user_id = models.BigIntegerField()
    session_digest = models.CharField(max_length=64)
    provider_uid = models.UUIDField()
    provider_fingerprint = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    server_name = models.CharField(max_length=63, blank=True)
    code_verifier = SealedTextField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    objects = SealedQuerySet["ConsentRequest"].as_manager()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["key_ids", "id"], name="consents_by_key")]

    def __str__(self) -> str:
        return f"consent request {self.uid}"

    def sealed_owner(self) -> str:
        """Bind the verifier to this trip."""
        return self.state_digest


class DeviceState(models.TextChoices):
    """How far a device request has come. All but the first are final."""

    PENDING = "pending", "Waiting"
    CONNECTED = "connected", "Connected"
    DENIED = "denied", "Denied"
    EXPIRED = "expired", "Expired"
    FAILED = "failed", "Failed"


class DeviceRequest(SealedModel):
    """A code that a user enters at the provider, in whatever browser, while the gateway asks for tokens (RFC 8628).

    One per user and provider: a new one takes the place of the old, with a new `uid`. `next_poll_at` is the claim of
    whoever polls. When it ends the codes are erased and `reason` says why; the row goes with `connections.cleanup`.
    """

    server_name = ""  # as of a ConsentRequest: it is asked for on Connections, for every server at once

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user_id = models.BigIntegerField()
    provider_uid = models.UUIDField()
    provider_fingerprint = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    device_code = SealedTextField(null=True, editable=False)
    user_code = SealedTextField(null=True, editable=False)
    verification_uri = models.CharField(max_length=2000)
    verification_uri_complete = SealedTextField(null=True, editable=False)
    interval = models.FloatField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    next_poll_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=DeviceState.choices, default=DeviceState.PENDING)
    reason = models.CharField(max_length=64, blank=True)

    objects = SealedQuerySet["DeviceRequest"].as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user_id", "provider_uid"], name="one_device_request_per_connection")
        ]
        indexes: ClassVar = [
            models.Index(fields=["state", "next_poll_at"], name="device_requests_to_poll"),
            models.Index(fields=["key_ids", "id"], name="device_requests_by_key"),
        ]

    def __str__(self) -> str:
        return f"device request {self.uid}"

    def sealed_owner(self) -> str:
        """Bind the codes to this request: the one that takes its place has another `uid`."""
        return str(self.uid)

    def state_at(self, now: datetime) -> DeviceState:
        """Return the state, expired from the moment that it is, whether or not anyone has noticed."""
        state = DeviceState(self.state)
        return DeviceState.EXPIRED if state == DeviceState.PENDING and self.expires_at <= now else state


class ProviderHealth(models.Model):
    """How a provider's token endpoint has fared, shared by every process; a provider that never failed has no row.

    Nobody asks before `paused_until`. `consecutive_failures` counts up to the opening of the circuit, and then its
    probes. `client_rejected_at`: when the provider last refused our credentials; `alerted_at`: when that, or the
    opening of the circuit, was made known.
    """

    provider_uid = models.UUIDField(unique=True)
    paused_until = models.DateTimeField(null=True, blank=True)
    consecutive_failures = models.PositiveIntegerField(default=0)
    circuit_open_since = models.DateTimeField(null=True, blank=True)
    client_rejected_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=64, blank=True)
    alerted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"health of provider {self.provider_uid}"


class ProviderSlot(models.Model):
    """One of the requests that may be in flight to a provider's token endpoint, until `held_until` if `holder` dies."""

    provider_uid = models.UUIDField()
    number = models.PositiveIntegerField()
    holder = models.CharField(max_length=32, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["provider_uid", "number"], name="one_slot_per_provider_and_number")
        ]

    def __str__(self) -> str:
        return f"slot {self.number} of provider {self.provider_uid}"


Trip = ConsentRequest | DeviceRequest
