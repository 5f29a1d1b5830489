"""Seal a value to its place, open it there and nowhere else; newest key first (contract §8).

A sealed payload names its table, column and owner. A ciphertext that was moved to another row or column,
altered, cut, or replaced by plain text does not open: `Unreadable`, for that value alone.
"""

import json
from typing import Any, ClassVar, Protocol

from cryptography.fernet import InvalidToken

from metrics import catalog
from vault import keyring
from vault.fields import Sealed, cipher


class Unreadable(Exception):
    """A sealed value does not open: moved, altered, or sealed under a key that is not in `FERNET_KEYS`."""


class Owned(Protocol):
    """A model instance that says what its sealed values belong to."""

    _meta: ClassVar[Any]

    def sealed_owner(self) -> str:
        """Return what identifies the owner for ever, even in another database: not the row number."""
        ...


def seal(owner: Owned, column: str, value: str) -> Sealed:
    """Seal `value` for `owner`'s `column` under the newest key."""
    place = json.dumps([*_place(owner, column), value], separators=(",", ":"))
    return Sealed(cipher().encrypt(place.encode()), keyring.newest())


def open_sealed(owner: Owned, column: str) -> str | None:
    """Open `owner`'s `column`; None when it holds nothing. Raises Unreadable, which is counted."""
    sealed = getattr(owner, column)
    if sealed is None:
        return None
    return _opened(owner, column, sealed)[1]


def _opened(owner: Owned, column: str, sealed: object) -> tuple[str, str]:
    """Return the id of the key that opened the value, and the value. Raises Unreadable, which is counted."""
    try:
        return _read(owner, column, sealed)
    except Unreadable:
        catalog.decrypt_failures.count(str(owner._meta.model_name))
        raise


def _read(owner: Owned, column: str, sealed: object) -> tuple[str, str]:
    if not isinstance(sealed, Sealed):
        raise Unreadable(f"{column} was never sealed")
    found = keyring.opened(sealed.ciphertext)
    if found is None:
        raise Unreadable(f"{_label(owner)}.{column} does not open")
    id, text = found
    try:
        *place, value = json.loads(text)
    except (ValueError, TypeError):
        # Without the cause, which holds what was sealed.
        raise Unreadable(f"{_label(owner)}.{column} does not open") from None
    if place != _place(owner, column) or not isinstance(value, str):
        raise Unreadable(f"{_label(owner)}.{column} was sealed for another place")
    return id, value


def opens(owner: Owned, column: str) -> bool:
    """Tell whether `owner`'s `column`, unless it is empty, can be opened; what is in it goes nowhere."""
    try:
        open_sealed(owner, column)
    except Unreadable:
        return False
    return True


def needs_reseal(owner: Owned, column: str) -> bool:
    """Tell whether the value opens under an older key only. Raises Unreadable when it opens under none."""
    sealed = getattr(owner, column)
    return sealed is not None and _opened(owner, column, sealed)[0] != keyring.newest()


def resealed(owner: Owned, column: str) -> Sealed | None:
    """Return the column's value under the newest key; None when it is, or there is none. Raises Unreadable.

    The row is left as it is.
    """
    sealed = getattr(owner, column)
    if sealed is None:
        return None
    id, value = _opened(owner, column, sealed)
    return seal(owner, column, value) if id != keyring.newest() else None


def _place(owner: Owned, column: str) -> list[str]:
    return [_label(owner), column, owner.sealed_owner()]


def _label(owner: Owned) -> str:
    return str(owner._meta.db_table)


def seal_text(purpose: str, text: str) -> str:
    """Seal what leaves the gateway and comes back, such as a protocol's opaque state; no row owns it."""
    return cipher().encrypt(json.dumps([purpose, text]).encode()).decode("ascii")


def open_text(purpose: str, token: str, *, max_age_seconds: int) -> str:
    """Open what `seal_text` made for the same purpose, if it is not older. Raises Unreadable."""
    try:
        sealed_for, text = json.loads(cipher().decrypt(token.encode("ascii"), ttl=max_age_seconds))
    except (InvalidToken, ValueError, TypeError):
        raise Unreadable(f"this {purpose} does not open") from None
    if sealed_for != purpose or not isinstance(text, str):
        raise Unreadable(f"this {purpose} was sealed for something else")
    return text
