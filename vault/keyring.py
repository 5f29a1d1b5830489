"""The keys of `FERNET_KEYS` by their ids: short, public, and of no use to whoever wants to open something."""

import hashlib
from functools import lru_cache

from cryptography.fernet import InvalidToken
from django.conf import settings
from fernet_fields.hkdf import derive_fernet_key

from vault.fields import cipher


def ids() -> tuple[str, ...]:
    """Return the ids of the keys that are set, newest first."""
    return _ids(tuple(settings.FERNET_KEYS))


def newest() -> str:
    """Return the id of the key that seals."""
    return ids()[0]


def given_up() -> frozenset[str]:
    """Return the ids of the keys that an operator declared lost, for as long as they are not set."""
    return frozenset(settings.FERNET_KEYS_LOST).difference(ids())


def under(ciphertext: bytes) -> str | None:
    """Return the id of the key that the ciphertext is under; None when it is none of those that are set."""
    found = opened(ciphertext)
    return found[0] if found else None


def opened(ciphertext: bytes) -> tuple[str, bytes] | None:
    """Return the id of the key that the ciphertext is under, and what it says; None when none of the keys opens it."""
    for id, fernet in zip(ids(), cipher()._fernets, strict=True):
        try:
            return id, fernet.decrypt(ciphertext)
        except InvalidToken:
            continue
    return None


@lru_cache(maxsize=8)
def _ids(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        hashlib.blake2b(b"key id", key=derive_fernet_key(key), digest_size=6, person=b"aigateway").hexdigest()
        for key in keys
    )
