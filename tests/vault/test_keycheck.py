"""No start without a key that rows still need (C04, C05), unless an operator says that it is lost."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from pytest_django import Settings

from aigateway import checks
from tests import factories
from vault import keycheck, keyring, rotation, standing
from vault.models import KeyCheck, Secret
from vault.rows import UNREADABLE
from vault.sealing import Unreadable, open_sealed

OLD, NEW = "old-key-old-key-old-key-old-key-old", "new-key-new-key-new-key-new-key-new"


@pytest.fixture
def old(alice: User, settings: Settings) -> str:
    """Seal a secret and a connection under the old key, move the check row to the new one; return the old key's id."""
    settings.FERNET_KEYS = [OLD]
    keycheck.verify()
    factories.make_vault_entry(alice, factories.make_provider())
    settings.FERNET_KEYS = [NEW, OLD]
    keycheck.verify()
    return keyring.ids()[1]


def deploy_check_ids() -> set[str | None]:
    return {message.id for message in run_checks(tags=[checks.TAG], include_deployment_checks=True)}


@pytest.mark.threat("C04", "C05")
def test_a_key_that_rows_need_is_not_dropped(old: str, settings: Settings) -> None:
    assert "vault.E004" not in deploy_check_ids()
    settings.FERNET_KEYS = [NEW]
    with pytest.raises(ImproperlyConfigured) as refused:
        keycheck.verify()
    said = str(refused.value)
    assert said.startswith("FERNET_KEYS lacks a key that is still in use.")
    assert f"Key {old} is missing; rows under it: vault_secret 1, vault_vaultentry 1." in said
    assert OLD not in said
    assert "vault.E004" in deploy_check_ids()
    settings.FERNET_KEYS = [NEW, OLD]
    rotation.rotate(lambda *_: None)
    settings.FERNET_KEYS = [NEW]
    keycheck.verify()
    assert "vault.E004" not in deploy_check_ids()


@pytest.mark.threat("C03", "C04")
def test_a_key_that_is_lost_for_good_is_given_up_by_name(old: str, settings: Settings) -> None:
    settings.FERNET_KEYS = [NEW]
    settings.FERNET_KEYS_LOST = ["0123456789ab"]
    with pytest.raises(ImproperlyConfigured, match=old):
        keycheck.verify()
    settings.FERNET_KEYS_LOST = [old]
    keycheck.verify()
    with pytest.raises(Unreadable):
        open_sealed(Secret.objects.get(), "value")
    assert standing.rows_by_key(Secret) == {UNREADABLE: 1}
    # It was found after all: nothing was thrown away meanwhile.
    rotation.rotate(lambda *_: None)
    settings.FERNET_KEYS = [NEW, OLD]
    keycheck.verify()
    assert standing.rows_by_key(Secret) == {old: 1}
    assert open_sealed(Secret.objects.get(), "value") == "s3cret-value"


@pytest.mark.threat("C04")
def test_only_an_old_key_or_a_wrong_one_opens_no_vault(old: str, settings: Settings) -> None:
    newest = KeyCheck.objects.get().key_ids
    settings.FERNET_KEYS = [OLD]
    with pytest.raises(ImproperlyConfigured, match=f"FERNET_KEYS does not open .* Key {newest} is missing"):
        keycheck.verify()
    settings.FERNET_KEYS_LOST = [newest]
    keycheck.verify()
    assert KeyCheck.objects.get().key_ids == old
    assert open_sealed(KeyCheck.objects.get(), "proof") == keycheck.PROOF


@pytest.mark.threat("C04")
def test_a_damaged_check_row_is_no_lost_key(old: str, settings: Settings) -> None:
    KeyCheck.objects.update(proof=Secret.objects.get().value)
    settings.FERNET_KEYS_LOST = [old, keyring.newest(), UNREADABLE]
    with pytest.raises(ImproperlyConfigured, match="FERNET_KEYS does not open"):
        keycheck.verify()


def test_the_deploy_check_says_that_it_could_not_ask(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_reach() -> str:
        raise DatabaseError

    monkeypatch.setattr(keycheck, "missing_keys", out_of_reach)
    assert {"vault.W002"} == deploy_check_ids() & {"vault.W002", "vault.E004"}


@pytest.mark.threat("C04", "C05")
def test_a_check_of_the_database_says_it_once_and_a_plain_one_asks_none(old: str, settings: Settings) -> None:
    settings.FERNET_KEYS = [NEW]
    said = run_checks(databases=["default"], include_deployment_checks=True)
    assert [message.id for message in said].count("vault.E004") == 1
    assert "vault.E004" not in {message.id for message in run_checks()}


def test_a_database_without_tables_is_for_migrate_to_mend(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_table() -> str:
        raise DatabaseError

    monkeypatch.setattr(keycheck, "missing_keys", no_such_table)
    assert not {"vault.E004", "vault.W002"} & {message.id for message in run_checks(databases=["default"])}


@pytest.mark.threat("C04")
def test_where_nobody_set_a_key_the_message_names_the_file(old: str, settings: Settings, tmp_path: Path) -> None:
    settings.FERNET_KEY_FILE = tmp_path / "fernet_key"
    settings.FERNET_KEYS = ["another-key-of-another-first-start-0123456789"]
    with pytest.raises(ImproperlyConfigured, match=f"the key is that of {tmp_path}/fernet_key: put back"):
        keycheck.verify()
