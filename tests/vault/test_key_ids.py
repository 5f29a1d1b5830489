"""What a row states about its keys, whoever writes it and however; and how it is found out when that is wrong."""

import io
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from providers.models import OAuthProvider
from tests import factories
from vault import entries, keyring, rotation, rows, secrets, standing
from vault.entries import Tokens
from vault.fields import Sealed
from vault.models import Secret, VaultEntry
from vault.progress import Progress
from vault.sealing import open_sealed, seal

OLD, NEW, LOST = (
    "old-key-old-key-old-key-old-key-old",
    "new-key-new-key-new-key-new-key-new",
    "lost-key-lost-key-lost-key-lost",
)


@pytest.fixture
def old(settings: Settings) -> str:
    """Seal under the old key; return its id."""
    settings.FERNET_KEYS = [OLD]
    return keyring.newest()


@pytest.fixture
def new(old: str, settings: Settings, entry: VaultEntry) -> str:
    """Put the new key first, after `entry` was sealed under the old one; return its id."""
    settings.FERNET_KEYS = [NEW, OLD]
    return keyring.newest()


@pytest.fixture
def provider(db: None) -> OAuthProvider:
    return factories.make_provider()


@pytest.fixture
def entry(old: str, alice: User, provider: OAuthProvider) -> VaultEntry:
    return factories.make_vault_entry(alice, provider)


def said(entry: VaultEntry) -> str | None:
    return VaultEntry.objects.values_list("key_ids", flat=True).get(pk=entry.pk)


def store(entry: VaultEntry, tokens: Tokens) -> VaultEntry:
    return entries.store(
        user_id=entry.user_id,
        provider_uid=entry.provider_uid,
        fingerprint="",
        tokens=tokens,
        scopes_requested=[],
        account="",
        now=timezone.now(),
    )


def test_an_id_is_short_stable_and_no_part_of_the_key(settings: Settings) -> None:
    settings.FERNET_KEYS = [NEW, OLD]
    one, two = keyring.ids()
    assert len(one) == 12
    assert one != two
    assert one not in NEW.encode().hex()
    settings.FERNET_KEYS = [OLD, NEW]
    assert keyring.ids() == (two, one)


@pytest.mark.threat("C05")
def test_a_consent_states_the_newest_key_alone(entry: VaultEntry, old: str, new: str) -> None:
    assert said(entry) == old
    assert said(store(entry, Tokens("a", "r"))) == new
    VaultEntry.objects.all().delete()
    assert said(store(entry, Tokens("a"))) == new


@pytest.mark.threat("C05", "B03")
def test_a_refresh_that_keeps_the_old_refresh_token_states_both(entry: VaultEntry, old: str, new: str) -> None:
    replaced = entries.replace(entry, tokens=Tokens("a"), now=timezone.now())
    assert replaced
    assert rows.split(said(entry)) == {old, new}
    assert standing.rows_by_key(VaultEntry) == {old: 1}
    again = entries.replace(VaultEntry.objects.get(), tokens=Tokens("b"), now=timezone.now())
    assert again
    assert rows.split(said(entry)) == {old, new}
    assert entries.replace(VaultEntry.objects.get(), tokens=Tokens("b", "r"), now=timezone.now())
    assert said(entry) == new


def test_a_spare_and_its_promotion_leave_no_key_out(entry: VaultEntry, old: str, new: str) -> None:
    assert entries.keep_spare(entry, refresh_token="spare")
    assert rows.split(said(entry)) == {old, new}
    assert entries.promote_spare(VaultEntry.objects.get())
    assert rows.split(said(entry)) == {old, new}


def test_a_lease_states_nothing_and_a_wiped_row_no_key(entry: VaultEntry, old: str, new: str) -> None:
    assert entries.claim(entry, holder="h", now=timezone.now(), lease_seconds=9)
    assert said(entry) == old
    assert entries.wipe(VaultEntry.objects.get(), reason="invalid_grant", now=timezone.now())
    assert said(entry) == rows.NOTHING
    assert not standing.rows_by_key(VaultEntry)
    assert entries.heal(VaultEntry.objects.get(), tokens=Tokens("a", "r"), now=timezone.now())
    assert rows.split(said(entry)) == {new}


def test_what_is_not_known_stays_so_until_all_of_it_is_written(entry: VaultEntry, new: str) -> None:
    VaultEntry.objects.update(key_ids=None)
    assert entries.replace(entry, tokens=Tokens("a"), now=timezone.now())
    assert said(entry) is None
    assert standing.rows_by_key(VaultEntry) == {standing.UNKNOWN: 1}
    assert said(store(entry, Tokens("a", "r"))) == new


def test_saving_a_row_finds_the_key_of_what_was_loaded(old: str, settings: Settings, admin: User) -> None:
    factories.make_secret("MCP_KEY", "value")
    settings.FERNET_KEYS = [NEW, OLD]
    Secret.objects.update(key_ids=None)
    Secret.objects.get().save()
    assert Secret.objects.get().key_ids == old
    deferred = Secret.objects.defer("value").get()
    deferred.description = "described"
    secrets.describe(deferred, actor=admin)
    assert Secret.objects.get().key_ids == old
    deferred = Secret.objects.defer("value").get()
    deferred.save()
    assert Secret.objects.get().key_ids == old
    secrets.write(Secret.objects.get(), "changed", actor=admin)
    assert Secret.objects.get().key_ids == keyring.newest()


def test_fields_are_saved_with_their_keys_or_not_at_all(entry: VaultEntry, new: str) -> None:
    entry.access_token = seal(entry, "access_token", "a")
    with pytest.raises(TypeError, match="all sealed columns"):
        entry.save(update_fields=["access_token"])
    entry.refresh_token = seal(entry, "refresh_token", "r")
    entry.save(update_fields=["access_token", "refresh_token", "spare_refresh_token"])
    assert said(entry) == new


def test_many_at_once_state_theirs(old: str, db: None) -> None:
    made = [Secret(name=f"KEY_{number}") for number in range(3)]
    for each in made:
        each.value = seal(each, "value", each.name)
    Secret.objects.bulk_create(made)
    assert set(Secret.objects.values_list("key_ids", flat=True)) == {old}
    Secret.objects.update(value=Sealed(b"not ciphertext"))
    assert set(Secret.objects.values_list("key_ids", flat=True)) == {rows.UNREADABLE}


@pytest.mark.threat("C03", "C05")
def test_a_damaged_row_does_not_keep_a_key_in_use(entry: VaultEntry, old: str, new: str) -> None:
    VaultEntry.objects.update(access_token=Sealed(b"not ciphertext"), key_ids=old)
    rotation.rotate(lambda *_: None)
    assert rows.split(said(entry)) == {new, rows.UNREADABLE}
    assert standing.rows_by_key(VaultEntry) == {rows.UNREADABLE: 1}
    assert open_sealed(VaultEntry.objects.get(), "refresh_token") == "upstream-refresh"


def test_a_row_under_a_missing_key_goes_on_stating_it(entry: VaultEntry, old: str, settings: Settings) -> None:
    settings.FERNET_KEYS = [NEW]
    rotation.rotate(lambda *_: None)
    assert said(entry) == old
    settings.FERNET_KEYS = [NEW, OLD]
    assert rotation.rotate(lambda *_: None) == 2  # with the provider's secret
    assert said(entry) == keyring.newest()


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("rotate_vault_keys", *args, stdout=out, stderr=out)
    return out.getvalue()


@pytest.mark.threat("C05")
def test_a_row_that_lies_is_found_and_set_right(entry: VaultEntry, old: str, new: str) -> None:
    VaultEntry.objects.update(key_ids=new)
    Secret.objects.all().delete()
    assert "newest 1, older 0" in run("--status")
    with pytest.raises(CommandError, match="Rows that are not under the key that they state: 1"):
        run("--status", "--verify")
    run()
    assert rows.actual(VaultEntry.objects.get(), None) == old
    run("--verify")
    assert rows.actual(VaultEntry.objects.get(), None) == new
    assert "newest 1, older 0" in run("--status", "--verify")


def test_the_migration_finds_the_keys_of_what_was_there(
    entry: VaultEntry, old: str, new: str, bob: User, provider: OAuthProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 2)
    for number in range(4):
        factories.make_vault_entry(factories.make_user(f"user-{number}"), provider)
    empty = factories.make_vault_entry(bob, provider, access_token=None, refresh_token=None)
    VaultEntry.objects.update(key_ids=None)
    rows.state_unknown(VaultEntry)
    assert standing.stated(VaultEntry) == {old: 1, new: 4, rows.NOTHING: 1}
    assert said(empty) == rows.NOTHING


def test_a_rotation_keeps_to_its_pace(old: str, db: None, settings: Settings) -> None:
    for number in range(10):
        factories.make_secret(f"KEY_{number}")
    settings.FERNET_KEYS = [NEW, OLD]
    started = time.monotonic()
    run("--rows-per-second", "20")
    assert 0.45 < time.monotonic() - started < 5
    with pytest.raises(CommandError, match="must be positive"):
        run("--rows-per-second", "-1")


@pytest.mark.threat("C05")
def test_a_run_that_is_interrupted_goes_on_where_it_was(
    old: str, db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    for number in range(7):
        factories.make_secret(f"KEY_{number}")
    settings.FERNET_KEYS = [NEW, OLD]

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotation.rotate(interrupt)
    assert standing.rows_by_key(Secret) == {keyring.newest(): 2, old: 5}
    assert rotation.rotate(lambda *_: None) == 5


@pytest.mark.threat("C05")
def test_what_keys_are_needed_is_asked_once_per_key_and_table_whatever_their_size(
    old: str, db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        factories.make_secret(f"KEY_{number}")
    keys_and_tables = 1  # the secrets' one key
    with django_assert_num_queries(len(standing.sealed_models()) + keys_and_tables) as asked:
        assert not standing.rows_without_key()
    assert all("LIMIT 1" in query["sql"] and "value" not in query["sql"] for query in asked.captured_queries)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.progress.BAR_SECONDS", 0)
    bar, lines = Terminal(), io.StringIO()
    for out in (bar, lines):
        told = Progress(OutputWrapper(out))
        for done in (50, 75, 100):
            told("vault_secret", done, 100)
    assert bar.getvalue().startswith("\r[############............] vault_secret: 50 of 100 rows, ")
    assert bar.getvalue().count("\r") == 3
    assert bar.getvalue().endswith("\n")
    assert [line.partition(", ")[0] for line in lines.getvalue().splitlines()] == [
        "vault_secret: 50 of 100 rows",
        "vault_secret: 100 of 100 rows",
    ]
