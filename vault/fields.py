"""The one encrypted column type: ciphertext in, ciphertext out; opening is a separate, explicit act.

`fernet_fields` decrypts whatever a query loads, so one bad row breaks a list, and what is decrypted
sits in every model instance. Here a loaded value stays a `Sealed`: nothing is opened until
`vault.sealing.open_sealed` is asked to, for one row and one column (dependencies.md, "Encrypted fields").
"""

from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from fernet_fields import EncryptedTextField
from fernet_fields.hkdf import derive_fernet_key


class Sealed:
    """Ciphertext on its way to or from a column. It prints nothing of itself.

    `key_id`: which key it was just sealed under; empty when it was read, and is to be found out.
    """

    __slots__ = ("ciphertext", "key_id")

    def __init__(self, ciphertext: bytes, key_id: str = "") -> None:
        self.ciphertext = ciphertext
        self.key_id = key_id

    def __repr__(self) -> str:
        return "<sealed>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and other.ciphertext == self.ciphertext

    def __hash__(self) -> int:
        return hash(self.ciphertext)


def cipher() -> MultiFernet:
    """Return the cipher of `FERNET_KEYS`: encrypts under the newest, opens with any. Never `SECRET_KEY`."""
    keys = getattr(settings, "FERNET_KEYS", None)
    if not keys:
        raise ImproperlyConfigured("FERNET_KEYS is not set: the vault has no key to seal with.")
    return _cipher(tuple(keys))


@lru_cache(maxsize=8)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(derive_fernet_key(key)) for key in keys])


class SealedTextField(EncryptedTextField):
    """A text column that holds only what `vault.sealing.seal` made. Plain text is refused with TypeError."""

    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]

    @property
    def fernet(self) -> MultiFernet:
        """Return the current cipher; the base class would keep the first keys it ever saw."""
        return cipher()

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        """Write ciphertext as it is."""
        if value is None or hasattr(value, "resolve_expression"):
            return value
        if not isinstance(value, Sealed):
            raise TypeError(f"{self.model.__name__}.{self.name} takes what vault.sealing.seal made, not plain text")
        return connection.Database.Binary(value.ciphertext)

    def get_prep_value(self, value: Any) -> Any:
        """Let a sealed value through untouched."""
        return value

    def from_db_value(self, value: Any, expression: Any, connection: Any, *_: Any) -> Sealed | None:
        """Wrap what was read, whatever it is: a bad row is found when it is opened, not when it is listed."""
        return None if value is None else Sealed(bytes(value) if not isinstance(value, str) else value.encode())

    def to_python(self, value: Any) -> Any:
        """Take ciphertext from a fixture."""
        return Sealed(value.encode("ascii")) if isinstance(value, str) else value

    def value_to_string(self, obj: Any) -> str | None:  # type: ignore[override]
        """Give ciphertext, never plain text, to `dumpdata`."""
        value = self.value_from_object(obj)
        return None if value is None else value.ciphertext.decode("ascii", "replace")
