"""Prove, before anything is sealed, that `FERNET_KEYS` are all of this database's keys (contract §2, C04)."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from vault import keyring, standing
from vault.fields import cipher
from vault.models import KeyCheck, PendingRevocation, Secret, ServiceToken, VaultEntry
from vault.sealing import Unreadable, needs_reseal, open_sealed, seal

PROOF = "these keys are this database's keys"


def verify() -> None:
    """Open the check row; make it in a vault that is still empty; move it to the newest key; miss no other key.

    Raises ImproperlyConfigured, naming FERNET_KEYS, when the row does not open, when it is missing although
    something is sealed, or when rows are under a key that is not set: the gateway must not start then.
    """
    cipher()
    with transaction.atomic():
        row = KeyCheck.objects.select_for_update().filter(pk=1).first()
        if row is None:
            _make()
        elif _needs_newest(row):
            KeyCheck.objects.filter(pk=1).update(proof=seal(row, "proof", PROOF))
    if found := missing_keys():
        raise ImproperlyConfigured(found)


def missing_keys() -> str:
    """Say which keys `FERNET_KEYS` lacks, how many rows need each, and the way out; nothing when it lacks none."""
    lacking = standing.rows_without_key()
    if not lacking:
        return ""
    needs = " ".join(
        f"Key {id} is missing; rows under it: {', '.join(f'{table} {rows:,}' for table, rows in tables.items())}."
        for id, tables in sorted(lacking.items())
    )
    return (
        f"FERNET_KEYS lacks a key that is still in use.{_where_from()} {needs} Put it back at the end of FERNET_KEYS "
        "and run `manage.py rotate_vault_keys` before it is removed. If it is lost for good, name its id in "
        "FERNET_KEYS_LOST: these rows then count as unreadable, one by one."
    )


def _make() -> None:
    if any(model.objects.exists() for model in (Secret, VaultEntry, ServiceToken, PendingRevocation)):
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
        if row.key_ids in keyring.given_up():
            return True
        raise ImproperlyConfigured(
            f"FERNET_KEYS does not open this database's vault.{_where_from()} Set the keys it was sealed with (newest "
            f"first); after restoring a backup, restore the keys that belong to it. {missing_keys()}"
        ) from None


def _where_from() -> str:
    """Say which file holds the only key where nobody has set any, so that its neighbour is looked for there."""
    file = settings.FERNET_KEY_FILE
    return (
        f" It is not set, so the key is that of {file}: put back the one that belongs to the database." if file else ""
    )
