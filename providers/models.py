"""OAuthProvider: an upstream authorization server, and the client registered with it."""

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from providers import validation
from vault.names import name_taken, valid_name, valid_ref
from vault.registry import Use


class GrantType(models.TextChoices):
    """How a user's tokens may be obtained."""

    BROWSER_CONSENT = "browser_consent", "Browser consent"
    TOKEN_EXCHANGE = "token_exchange", "Token exchange"  # noqa: S105 - the name of a grant


class AuthMethod(models.TextChoices):
    """How the gateway authenticates at the token endpoint (RFC 7591 §2)."""

    BASIC = "client_secret_basic", "HTTP Basic"
    POST = "client_secret_post", "POST body"
    NONE = "none", "None (public client with PKCE)"


class CallbackMode(models.TextChoices):
    """Whether the redirect URI is this provider's own (RFC 9700 §4.4) or shared."""

    PER_PROVIDER = "per_provider", "Per provider"
    SHARED = "shared", "Shared"


def default_grant_types() -> list[str]:
    """Offer browser consent."""
    return [GrantType.BROWSER_CONSENT.value]


class ProviderQuerySet(models.QuerySet["OAuthProvider"]):
    """Providers; deleting leaves tombstones."""

    def delete(self) -> tuple[int, dict[str, int]]:
        """Bury each provider, as `OAuthProvider.delete` does."""
        buried = [provider.delete() for provider in self]
        return len(buried), {"providers.OAuthProvider": len(buried)}


class LiveManager(models.Manager["OAuthProvider"]):
    """Leaves the tombstones out."""

    def get_queryset(self) -> ProviderQuerySet:
        """Return the providers that were not deleted."""
        return ProviderQuerySet(self.model, using=self._db).filter(deleted_at__isnull=True)


class OAuthProvider(models.Model):
    """An upstream authorization server (contract §4). Names on the wire are RFC 8414's and RFC 7591's.

    A deleted provider stays as a hidden tombstone until what was connected through it has been revoked:
    `objects` shows the living, `everything` both.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=63, validators=[valid_name])
    display_name = models.CharField(max_length=100)
    preset = models.CharField(max_length=63, blank=True)
    preset_parameters = models.JSONField(default=dict, blank=True)
    authorization_endpoint = models.CharField(max_length=2000)
    token_endpoint = models.CharField(max_length=2000)
    revocation_endpoint = models.CharField(max_length=2000, blank=True)
    device_authorization_endpoint = models.CharField(max_length=2000, blank=True)
    userinfo_endpoint = models.CharField(max_length=2000, blank=True)
    account_claim = models.CharField(max_length=64, blank=True)
    issuer = models.CharField(max_length=2000, blank=True)
    resource = models.CharField(max_length=2000, blank=True)
    grant_types = models.JSONField(default=default_grant_types)
    token_endpoint_auth_method = models.CharField(max_length=32, choices=AuthMethod.choices, default=AuthMethod.BASIC)
    client_id = models.CharField(max_length=512)
    client_secret_ref = models.CharField(max_length=128, blank=True, validators=[valid_ref])
    scopes = models.JSONField(default=list, blank=True)
    scope_delimiter = models.CharField(max_length=3, default=" ")
    authorize_params = models.JSONField(default=dict, blank=True)
    require_pkce = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    keep_idle_connections = models.BooleanField(default=False)
    callback_mode = models.CharField(max_length=16, choices=CallbackMode.choices, default=CallbackMode.PER_PROVIDER)
    # What the issuer's metadata said, kept by `providers.promises`; nobody types it.
    issuer_promises = models.JSONField(default=dict, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    everything = ProviderQuerySet.as_manager()
    objects = LiveManager()

    class Meta:
        ordering = ["name"]
        default_manager_name = "objects"
        verbose_name = "OAuth provider"
        permissions = [("attach_oauthprovider", "Can attach OAuth provider")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(deleted_at__isnull=True), name="one_living_provider_per_name"
            )
        ]

    def __str__(self) -> str:
        return self.display_name or self.name

    def clean(self) -> None:
        """Check every field and how they fit together; a public client gets PKCE whatever was asked.

        Raises ValidationError with the contract's codes.
        """
        if self.token_endpoint_auth_method == AuthMethod.NONE:
            self.require_pkce = True
        if OAuthProvider.objects.filter(name=self.name).exclude(pk=self.pk).exists():
            raise name_taken("OAuth provider")
        validation.check(self)

    def delete(self, *_: Any, **__: Any) -> tuple[int, dict[str, int]]:
        """Bury the provider: gone from every list and call at once, kept as a tombstone until collected."""
        self.deleted_at = timezone.now()
        self.save(update_fields=["deleted_at"])
        return 1, {self._meta.label: 1}

    def erase(self) -> None:
        """Delete the tombstone's row."""
        super().delete()

    @property
    def callback_url(self) -> str:
        """Return the redirect URI to register at the provider (contract §3)."""
        shared = self.callback_mode == CallbackMode.SHARED
        return f"{settings.AIGW_BASE_URL}/oauth/v1/callback" + ("" if shared else f"/{self.name}")

    @property
    def offers_browser_consent(self) -> bool:
        """Tell whether a user can connect in a browser."""
        return GrantType.BROWSER_CONSENT in self.grant_types

    def fingerprint(self) -> str:
        """Digest what decides where a stored token or the client's secret would be sent, and as whom (A18)."""
        parts = [
            self.issuer,
            self.token_endpoint,
            self.revocation_endpoint,
            self.userinfo_endpoint,
            self.device_authorization_endpoint,
            self.token_endpoint_auth_method,
            self.client_id,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def users_of_secrets(refs: Collection[str]) -> Iterable[tuple[str, Use]]:
    """Return the providers, tombstones included, whose client secret is one of these."""
    rows = OAuthProvider.everything.filter(client_secret_ref__in=refs).order_by("name", "pk")
    fields = rows.values_list("client_secret_ref", "name", "deleted_at")
    return [(ref, Use("oauth-provider", name, is_deleted=deleted_at is not None)) for ref, name, deleted_at in fields]


class OAuthProviderUserObjectPermission(UserObjectPermissionBase):
    """A user's right on one provider."""

    content_object = models.ForeignKey(OAuthProvider, on_delete=models.CASCADE)


class OAuthProviderGroupObjectPermission(GroupObjectPermissionBase):
    """A group's right on one provider."""

    content_object = models.ForeignKey(OAuthProvider, on_delete=models.CASCADE)
