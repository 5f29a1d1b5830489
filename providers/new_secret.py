"""A client secret that is made together with its provider: both are saved, or neither."""

from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from clients import rights
from vault import secrets
from vault.models import Secret

PREFIX = "new_secret_"


@dataclass(frozen=True, slots=True)
class NewSecret:
    """The name and the value of a secret that does not exist yet."""

    name: str
    value: str = field(repr=False)

    def write(self, actor: User) -> None:
        """Make the secret; the caller has opened the transaction.

        Raises PermissionRefused without `vault.add_secret`, and ValidationError on `new_secret_name` or
        `new_secret_value`.
        """
        if not rights.may(actor, "add", Secret):
            raise rights.PermissionRefused("permission_denied", rights.refusal("add", Secret), f"{PREFIX}name")
        if Secret.objects.filter(name=self.name).exists():
            text = f"Secret {self.name} exists already. Pick it under Existing, or choose another name."
            raise ValidationError({f"{PREFIX}name": ValidationError(text, code="unique")})
        try:
            secrets.write(Secret(name=self.name), self.value, actor=actor)
        except ValidationError as refused:
            found = refused.error_dict if hasattr(refused, "error_dict") else {"value": refused.error_list}
            raise ValidationError({f"{PREFIX}{attr}": errors for attr, errors in found.items()}) from None
