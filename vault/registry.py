"""What upper floors tell the vault, by registration in `AppConfig.ready()`: who uses a secret."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """Something that refers to a secret: `kind` as in the API (`oauth-provider`), and its `name`."""

    kind: str
    name: str


UsersOfSecret = Callable[[str], Iterable[Use]]
_sources: list[UsersOfSecret] = []


def register_users_of_secrets(source: UsersOfSecret) -> None:
    """Have `source(secret_name)` asked who uses a secret."""
    _sources.append(source)


def used_by(secret_name: str) -> list[Use]:
    """Return everything that refers to the secret."""
    return [use for source in _sources for use in source(secret_name)]
