"""Decide whether a provider may be saved as it is, and save it: the one way for API, admin and command line."""

from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import trail
from clients import rights
from providers import impact
from providers.models import OAuthProvider
from providers.new_secret import NewSecret
from providers.validation import ENDPOINTS
from vault import names, secrets

FIELDS = (
    "name",
    "display_name",
    "preset",
    "preset_parameters",
    *ENDPOINTS,
    "account_claim",
    "resource",
    "grant_types",
    "token_endpoint_auth_method",
    "client_id",
    "client_secret_ref",
    "scopes",
    "scope_delimiter",
    "authorize_params",
    "require_pkce",
    "enabled",
    "keep_idle_connections",
    "callback_mode",
)
# Which secret is sent, and where to: changing any of these needs `use` on the secret (contract §5).
SENDS_THE_SECRET = frozenset(
    [
        "client_secret_ref",
        "token_endpoint",
        "revocation_endpoint",
        "device_authorization_endpoint",
        "token_endpoint_auth_method",
    ]
)
TARGET = "oauth_provider"


def save(actor: User, provider: OAuthProvider, *, new_secret: NewSecret | None = None) -> OAuthProvider:
    """Save a new or changed provider; the creator of a new one gets rights on it, never attach.

    `new_secret` is made in the same transaction. Raises ValidationError with the contract's codes by field, and
    PermissionRefused; nothing is saved then.
    """
    try:
        names.refuse_changes(OAuthProvider.objects, provider, "name", "preset")
        # Looks up host names, so it stays outside the transaction.
        provider.full_clean()
        with names.one_per_name("OAuth provider"), transaction.atomic():
            _save(actor, provider, new_secret)
    except (ValidationError, rights.PermissionRefused) as refused:
        trail.record_refusal(f"{TARGET}.refused", refused, actor=actor, target_type=TARGET, target=provider.name)
        raise
    return provider


def delete(actor: User, provider: OAuthProvider) -> None:
    """Delete a provider: its connections end at once and are revoked by and by. Raises PermissionRefused."""
    rights.require(actor, "delete", provider)
    with transaction.atomic():
        trail.record(f"{TARGET}.deleted", actor=actor, target_type=TARGET, target=provider.name, uid=str(provider.uid))
        provider.delete()


def switch(actor: User, provider: OAuthProvider, *, is_on: bool) -> OAuthProvider:
    """Switch a provider on or off. Raises PermissionRefused, and ValidationError when it may not be on as it is.

    Off is always possible, also for one whose addresses the operator no longer allows.
    """
    rights.require(actor, "change", provider)
    if is_on:
        provider.full_clean()
    with transaction.atomic():
        provider.enabled = is_on
        provider.save(update_fields=["enabled", "updated_at"])
        trail.record(
            f"{TARGET}.changed",
            actor=actor,
            target_type=TARGET,
            target=provider.name,
            fields=["enabled"],
            enabled=is_on,
        )
    return provider


def _save(actor: User, provider: OAuthProvider, new_secret: NewSecret | None) -> None:
    before = OAuthProvider.objects.select_for_update().get(pk=provider.pk) if provider.pk else None
    rights.require(actor, "change" if before else "add", before or OAuthProvider)
    changed = [field for field in FIELDS if before is None or getattr(before, field) != getattr(provider, field)]
    if new_secret is not None:
        new_secret.write(actor)
    if provider.client_secret_ref and SENDS_THE_SECRET.intersection(changed):
        secrets.require_use(actor, provider.client_secret_ref, attr="client_secret_ref")
    if before is None:
        provider.save()
        trail.record(f"{TARGET}.created", actor=actor, target_type=TARGET, target=provider.name, uid=str(provider.uid))
        rights.give_to_creator(actor, provider)
    elif changed:
        cut = impact.cut_off(before, provider)
        provider.save(update_fields=[*changed, "updated_at"])
        trail.record(
            f"{TARGET}.changed",
            actor=actor,
            target_type=TARGET,
            target=provider.name,
            fields=changed,
            hosts=_hosts(before, provider, changed),
            cut_off=cut,
        )


def _hosts(before: OAuthProvider, after: OAuthProvider, changed: list[str]) -> dict[str, list[str]]:
    """Return `{endpoint: [old host, new host]}` (A18)."""
    return {
        field: [urlsplit(getattr(provider, field)).netloc for provider in (before, after)]
        for field in ENDPOINTS
        if field in changed
    }
