"""What upper floors tell the vault, by registration in `AppConfig.ready()`: who uses a secret."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """Something that refers to a secret: `kind` as in the API (`oauth-provider`), and its `name`.

    `is_deleted`: it is gone from every list, and needs the secret until what is left of it has been revoked.
    """

    kind: str
    name: str
    is_deleted: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{' (deleted, tokens to revoke)' if self.is_deleted else ''}"


UsersOfSecrets = Callable[[Collection[str]], Iterable[tuple[str, Use]]]
_sources: list[UsersOfSecrets] = []


def register_users_of_secrets(source: UsersOfSecrets) -> None:
    """Have `source(secret_names)` asked who uses which of them."""
    _sources.append(source)


def used_by(secret_name: str) -> list[Use]:
    """Return everything that refers to the secret."""
    return used_by_each([secret_name])[secret_name]


def used_by_each(secret_names: Collection[str]) -> dict[str, list[Use]]:
    """Return everything that refers to each of the secrets, in as many queries as for one."""
    found: dict[str, list[Use]] = {name: [] for name in secret_names}
    for source in _sources:
        for name, use in source(secret_names):
            found[name].append(use)
    return found
