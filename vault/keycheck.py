"""Prove, before anything is sealed, that `FERNET_KEYS` are this database's keys (contract §2, C04)."""

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from vault.fields import cipher
from vault.models import KeyCheck, PendingRevocation, Secret, VaultEntry
from vault.sealing import Unreadable, needs_reseal, open_sealed, seal

PROOF = "these keys are this database's keys"


def verify() -> None:
    """Open the check row; make it in a vault that is still empty; move it to the newest key.

    Raises ImproperlyConfigured, naming FERNET_KEYS, when the row does not open, or when it is missing
    although something is sealed: the gateway must not start with such a key.
    """
    cipher()
    with transaction.atomic():
        row = KeyCheck.objects.select_for_update().filter(pk=1).first()
        if row is None:
            _make()
        elif _needs_newest(row):
            KeyCheck.objects.filter(pk=1).update(proof=seal(row, "proof", PROOF))


def _make() -> None:
    if any(model.objects.exists() for model in (Secret, VaultEntry, PendingRevocation)):
        raise ImproperlyConfigured(
            "The vault holds sealed values but its key check row is gone. Restore the database from a backup."
        )
    row = KeyCheck(pk=1)
    KeyCheck.objects.bulk_create([KeyCheck(pk=1, proof=seal(row, "proof", PROOF))], ignore_conflicts=True)
    if _needs_newest(KeyCheck.objects.get(pk=1)):
        raise ImproperlyConfigured("Another process started at the same time with other FERNET_KEYS.")


def _needs_newest(row: KeyCheck) -> bool:
    try:
        if open_sealed(row, "proof") != PROOF:
            raise Unreadable("key check")
        return needs_reseal(row, "proof")
    except Unreadable:
        raise ImproperlyConfigured(
            "FERNET_KEYS does not open this database's vault. Set the keys it was sealed with (newest first); "
            "after restoring a backup, restore the keys that belong to it."
        ) from None
