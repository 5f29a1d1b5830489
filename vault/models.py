"""What is kept: admins' secrets, users' tokens, and tokens waiting to be revoked. Knows no HTTP."""

import uuid
from typing import Any, ClassVar, NoReturn, TypeVar

from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from vault.fields import SealedTextField
from vault.names import valid_ref

M = TypeVar("M", bound=models.Model)


class SealedQuerySet(models.QuerySet[M]):
    """Rows with sealed columns."""

    def bulk_update(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: it would encrypt the SQL `CASE` expression in place of the value (C06)."""
        raise TypeError("bulk_update destroys sealed columns; save the rows one by one")


class Secret(models.Model):
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

    def __str__(self) -> str:
        return self.name

    def sealed_owner(self) -> str:
        """Bind the value to this secret: one made again under the same name has another `uid`."""
        return str(self.uid)


class VaultEntry(models.Model):
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
    refresh_due_at = models.DateTimeField(null=True, blank=True, db_index=True)
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
        indexes: ClassVar = [models.Index(fields=["provider_uid", "refresh_due_at"], name="entries_due_per_provider")]

    def __str__(self) -> str:
        return f"connection {self.uid}"

    def sealed_owner(self) -> str:
        """Bind the tokens to this user and provider."""
        return f"{self.user_id}:{self.provider_uid}"


class PendingRevocation(models.Model):
    """Tokens that nobody may use any more and that the provider has not yet been told about."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    user_id = models.BigIntegerField()
    provider_uid = models.UUIDField(db_index=True)
    provider_fingerprint = models.CharField(max_length=64, blank=True)
    access_token = SealedTextField(null=True, editable=False)
    refresh_token = SealedTextField(null=True, editable=False)
    reason = models.CharField(max_length=40)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    try_at = models.DateTimeField(db_index=True)

    objects = SealedQuerySet["PendingRevocation"].as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"pending revocation {self.uid}"

    def sealed_owner(self) -> str:
        """Bind the tokens to this row."""
        return str(self.uid)


class KeyCheck(models.Model):
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
