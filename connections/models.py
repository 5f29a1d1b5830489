"""ConsentRequest: what must be remembered between leaving for the provider and coming back."""

import uuid

from django.db import models

from vault.fields import SealedTextField
from vault.models import SealedQuerySet


class ConsentRequest(models.Model):
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

    def __str__(self) -> str:
        return f"consent request {self.uid}"

    def sealed_owner(self) -> str:
        """Bind the verifier to this trip."""
        return self.state_digest
