"""Write, read and delete an admin's secret by its `*_ref`. The value leaves only through `read`."""

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import trail
from clients import rights
from vault import names, registry
from vault.models import Secret
from vault.sealing import Unreadable, open_sealed, seal

MAX_VALUE_LENGTH = 16 * 1024


class SecretNotFound(Exception):
    """A `*_ref` does not resolve to a readable secret. The message names it."""

    def __init__(self, name: str, why: str = "not found") -> None:
        super().__init__(f"Secret {name} {why}")
        self.name = name


class SecretInUse(Exception):
    """The secret cannot be deleted: something refers to it."""

    def __init__(self, name: str, uses: list[registry.Use]) -> None:
        named = ", ".join(str(use) for use in uses)
        super().__init__(f"Secret {name} is used by {named}. Change or delete these first.")
        self.uses = uses


def write(secret: Secret, value: str, *, actor: User) -> Secret:
    """Save a new or changed secret with a new value; the creator of a new one gets rights on it.

    Raises ValidationError (field `value` or `name`); nothing is written then. Whether `actor` may do this at
    all is asked by the door.
    """
    if not value or len(value) > MAX_VALUE_LENGTH or "\x00" in value:
        raise ValidationError(
            {
                "value": ValidationError(
                    f"Give a value of 1 to {MAX_VALUE_LENGTH} characters without NUL.", code="invalid"
                )
            }
        )
    is_new = secret.pk is None
    secret.value = seal(secret, "value", value)
    _check(secret)
    with names.one_per_name("Secret"), transaction.atomic():
        secret.save()
        if is_new:
            rights.give_to_creator(actor, secret, "use")
        trail.record(
            "secret.created" if is_new else "secret.rotated", actor=actor, target_type="secret", target=secret.name
        )
    return secret


def describe(secret: Secret, *, actor: User) -> Secret:
    """Save a changed description; the value stays as it is. Raises ValidationError."""
    _check(secret)
    with transaction.atomic():
        secret.save(update_fields=["description", "updated_at"])
        trail.record("secret.changed", actor=actor, target_type="secret", target=secret.name, fields=["description"])
    return secret


def read(name: str, *, purpose: str, is_recorded: bool = False) -> str:
    """Open the secret called `name` into memory, for `purpose` (`oauth-provider github`), audited.

    `is_recorded`: the same piece of work has opened it, and recorded it, before; only a failure is recorded again.
    Raises SecretNotFound when there is none or it does not open.
    """
    secret = Secret.objects.filter(name=name).first()
    if secret is None:
        trail.record("secret.opened", target_type="secret", target=name, result=trail.FAILED, purpose=purpose)
        raise SecretNotFound(name)
    try:
        value = open_sealed(secret, "value")
    except Unreadable:
        trail.record("secret.unreadable", target_type="secret", target=name, result=trail.FAILED, purpose=purpose)
        raise SecretNotFound(name, "cannot be opened") from None
    if not is_recorded:
        trail.record("secret.opened", target_type="secret", target=name, purpose=purpose)
    return value or ""


def delete(secret: Secret, *, actor: User, is_forced: bool = False) -> None:
    """Delete a secret that nothing refers to, or any when forced: whatever uses it then fails with SecretNotFound.

    Raises SecretInUse.
    """
    with transaction.atomic():
        uses = registry.used_by(secret.name)
        if uses and not is_forced:
            raise SecretInUse(secret.name, uses)
        used_by = [str(use) for use in uses]
        trail.record("secret.deleted", actor=actor, target_type="secret", target=secret.name, used_by=used_by)
        secret.delete()


def require_use(user: User, ref: str, *, attr: str) -> None:
    """Ask that `user` may use the secret called `ref`, for field `attr` (contract §5).

    Raises ValidationError `secret_not_found` when there is none, PermissionRefused `secret_permission_denied`
    when there is one that the user may not use.
    """
    secret = Secret.objects.filter(name=ref).first()
    if secret is None:
        raise ValidationError(
            {
                attr: ValidationError(
                    f"Secret {ref} not found. Create it first, then name it here.", code="secret_not_found"
                )
            }
        )
    if not rights.may(user, "use", secret):
        raise rights.PermissionRefused(
            "secret_permission_denied",
            f"You need the permission vault.use_secret on secret {ref}. Ask an admin to grant it.",
            attr,
        )


def _check(secret: Secret) -> None:
    names.refuse_changes(Secret.objects, secret, "name")
    secret.full_clean()
