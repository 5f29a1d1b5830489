"""What is kept: admins' secrets, users' tokens, and tokens waiting to be revoked. Knows no HTTP."""

import uuid
from typing import ClassVar

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from vault.fields import SealedTextField
from vault.names import valid_ref
from vault.rows import SealedModel, SealedQuerySet

# Whose a service account's token is, in a PendingRevocation.
NOBODY = 0


class Secret(SealedModel):
    """An admin's value, referred to by name (`*_ref`), never read back."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=128, unique=True, validators=[valid_ref])
    description = models.CharField(max_length=256, blank=True)
    value = SealedTextField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = SealedQuerySet["Secret"].as_manager()

    class Meta:
        ordering = ["name"]
        permissions = [("use_secret", "Can use secret")]
        indexes: ClassVar = [models.Index(fields=["key_ids", "id"], name="secrets_by_key")]

    def __str__(self) -> str:
        return self.name

    def sealed_owner(self) -> str:
        """Bind the value to this secret: one made again under the same name has another `uid`."""
        return str(self.uid)


class VaultEntry(SealedModel):
    """One user's tokens for one provider. No cascading keys: whoever is gone is found by `connections.cleanup`.

    `generation` grows with every write of the tokens; `lease_holder` and `lease_until` are the claim of
    whoever refreshes; a holder without a time is one whose request may have been answered unheard. `refresh_due_at` is
    when to renew ahead of time; null means never. `spare_refresh_token` is the other of two that one refresh token
    brought: it is tried when the provider refuses the first.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user_id = models.BigIntegerField(db_index=True)
    provider_uid = models.UUIDField()
    provider_fingerprint = models.CharField(max_length=64, blank=True)
    account = models.CharField(max_length=320, blank=True)
    access_token = SealedTextField(null=True, editable=False)
    refresh_token = SealedTextField(null=True, editable=False)
    spare_refresh_token = SealedTextField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    refresh_token_expires_at = models.DateTimeField(null=True, blank=True)
    scopes_requested = models.JSONField(default=list)
    scopes_granted = models.JSONField(default=list)
    connected_at = models.DateTimeField()
    refreshed_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    attention_reason = models.CharField(max_length=40, blank=True)
    generation = models.BigIntegerField(default=1)
    lease_holder = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    refresh_due_at = models.DateTimeField(null=True, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True, blank=True)

    objects = SealedQuerySet["VaultEntry"].as_manager()

    class Meta:
        verbose_name = "connection"
        verbose_name_plural = "connections"
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user_id", "provider_uid"], name="one_entry_per_user_and_provider")
        ]
        # The last three hold few rows each: they count what is not well without reading what is.
        indexes: ClassVar = [
            models.Index(fields=["provider_uid", "refresh_due_at"], name="entries_due_per_provider"),
            models.Index(fields=["key_ids", "id"], name="entries_by_key"),
            models.Index(
                fields=["attention_reason"], condition=~models.Q(attention_reason=""), name="entries_needing_attention"
            ),
            models.Index(
                fields=["attention_reason"], condition=models.Q(failing_since__isnull=False), name="entries_failing"
            ),
            models.Index(
                fields=["attention_reason", "expires_at"],
                condition=models.Q(refresh_token__isnull=True),
                name="entries_without_renewal",
            ),
        ]

    def __str__(self) -> str:
        return f"connection {self.uid}"

    def sealed_owner(self) -> str:
        """Bind the tokens to this user and provider."""
        return f"{self.user_id}:{self.provider_uid}"


class ServiceToken(SealedModel):
    """The token that one MCP server's service account shares among all who call the server.

    `fingerprint` is of all that decides where it comes from: a row with another one than its server's is of no use.
    `generation` grows with every token, dropped ones included; the lease is as of a `VaultEntry`. `rejected_at`: when
    the upstream last refused a token, so that it was replaced before its time; `is_refused`: the last failure was the
    authorization server's refusal, which waiting does not heal.
    """

    server_uid = models.UUIDField(unique=True)
    provider_uid = models.UUIDField(null=True, blank=True, db_index=True)
    provider_fingerprint = models.CharField(max_length=64, blank=True)
    fingerprint = models.CharField(max_length=64, blank=True)
    access_token = SealedTextField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    obtained_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    refresh_due_at = models.DateTimeField(null=True, blank=True, db_index=True)
    rejected_at = models.DateTimeField(null=True, blank=True)
    generation = models.BigIntegerField(default=1)
    lease_holder = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=64, blank=True)
    is_refused = models.BooleanField(default=False)

    objects = SealedQuerySet["ServiceToken"].as_manager()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["key_ids", "id"], name="service_tokens_by_key")]

    def __str__(self) -> str:
        return f"service token of server {self.server_uid}"

    def sealed_owner(self) -> str:
        """Bind the token to its server."""
        return str(self.server_uid)


class PendingRevocation(SealedModel):
    """Tokens that nobody may use any more and that the provider has not yet been told about.

    A token that is settled is erased; `settled_as` is what that means for the outcome of both.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user_id = models.BigIntegerField()
    provider_uid = models.UUIDField(db_index=True)
    provider_fingerprint = models.CharField(max_length=64, blank=True)
    access_token = SealedTextField(null=True, editable=False)
    refresh_token = SealedTextField(null=True, editable=False)
    reason = models.CharField(max_length=40)
    settled_as = models.CharField(max_length=16, blank=True, db_default="", default="")
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    try_at = models.DateTimeField(db_index=True)

    objects = SealedQuerySet["PendingRevocation"].as_manager()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [models.Index(fields=["key_ids", "id"], name="revocations_by_key")]

    def __str__(self) -> str:
        return f"pending revocation {self.uid}"

    def sealed_owner(self) -> str:
        """Bind the tokens to this row."""
        return str(self.uid)


class KeyCheck(SealedModel):
    """The only row holds a known text under the newest key: the proof that `FERNET_KEYS` fits this database."""

    proof = SealedTextField(editable=False)

    objects = SealedQuerySet["KeyCheck"].as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "key check"

    def sealed_owner(self) -> str:
        """There is one."""
        return "gateway"


class SecretUserObjectPermission(UserObjectPermissionBase):
    """A user's right on one secret."""

    content_object = models.ForeignKey(Secret, on_delete=models.CASCADE)


class SecretGroupObjectPermission(GroupObjectPermissionBase):
    """A group's right on one secret."""

    content_object = models.ForeignKey(Secret, on_delete=models.CASCADE)
