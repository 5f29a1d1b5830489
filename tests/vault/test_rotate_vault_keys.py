"""Moving everything under a new key while others read and write (C05), and what else may happen to sealed columns."""

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.utils import timezone
from pytest_django import Settings

from audit.models import Event
from connections.models import ConsentRequest
from tests import factories
from vault import entries, keycheck, keyring, rotation, rows, sealing, standing
from vault.entries import Tokens
from vault.fields import Sealed
from vault.models import KeyCheck, PendingRevocation, Secret, VaultEntry
from vault.sealing import needs_reseal, open_sealed, seal

OLD, NEW = "old-key-old-key-old-key-old-key-old", "new-key-new-key-new-key-new-key-new"


@pytest.fixture
def before(settings: Settings) -> Callable[[], None]:
    """Seal under the old key; the function puts the new one first."""
    settings.FERNET_KEYS = [OLD]

    def introduce() -> None:
        settings.FERNET_KEYS = [NEW, OLD]

    return introduce


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("rotate_vault_keys", *args, stdout=out, stderr=out)
    return out.getvalue()


def one_of_each(user: User) -> None:
    """Make a row of everything that is sealed."""
    keycheck.verify()
    provider = factories.make_provider()
    entry = factories.make_vault_entry(user, provider)
    entries.keep_for_revocation(entry, access_token="a", refresh_token="r", reason="test", now=timezone.now())
    trip = ConsentRequest(
        state_digest="d" * 64,
        user_id=user.pk,
        session_digest="s",
        provider_uid=provider.uid,
        provider_fingerprint="f",
        expires_at=timezone.now(),
    )
    trip.code_verifier = seal(trip, "code_verifier", "canary-pkce")
    trip.save()


def opened() -> list[Any]:
    """Open everything that `one_of_each` made."""
    rows: list[Any] = [
        (Secret.objects.get(), "value"),
        (VaultEntry.objects.get(), "access_token"),
        (VaultEntry.objects.get(), "refresh_token"),
        (PendingRevocation.objects.get(), "access_token"),
        (PendingRevocation.objects.get(), "refresh_token"),
        (ConsentRequest.objects.get(), "code_verifier"),
        (KeyCheck.objects.get(), "proof"),
    ]
    return [open_sealed(row, column) for row, column in rows]


@pytest.mark.threat("C05")
def test_everything_sealed_moves_and_the_old_key_can_go(
    alice: User, before: Callable[[], None], settings: Settings
) -> None:
    one_of_each(alice)
    held = opened()
    before()
    old = keyring.ids()[1]
    with pytest.raises(CommandError, match="Rows not yet under the newest key: 5"):
        run("--status")
    generation = VaultEntry.objects.get().generation
    said = run()
    assert "vault_secret: 1 of 1 rows" in said
    assert "newest 5, older 0, missing 0, unknown 0, unreadable 0 rows" in said
    assert f"Next: take {old} out of FERNET_KEYS" in run("--status")
    assert f"Next: take {old} out of FERNET_KEYS" in run("--status", "--verify")
    settings.FERNET_KEYS = [NEW]
    keycheck.verify()
    assert "Nothing is left to do" in run("--status")
    assert opened() == held
    # A refresh that was under way must still be able to write back.
    assert VaultEntry.objects.get().generation == generation
    assert Event.objects.filter(action="vault.keys_rotated").latest("pk").data == {"rows": 5}
    assert "s3cret-value" not in said


def test_every_model_with_sealed_columns_states_its_keys_in_an_index(db: None) -> None:
    models = [model for model in apps.get_models() if rows.columns_of(model)]
    assert {"Secret", "VaultEntry", "PendingRevocation", "KeyCheck", "ConsentRequest"} <= {m.__name__ for m in models}
    assert set(models) == set(standing.sealed_models())
    for model in models:
        assert isinstance(model._default_manager.all(), rows.SealedQuerySet), model
        indexed = [index.fields for index in model._meta.indexes]
        assert ["key_ids", "id"] in indexed or model is KeyCheck, model


def test_a_second_run_writes_nothing(alice: User, before: Callable[[], None]) -> None:
    one_of_each(alice)
    before()
    run()
    stored = Secret.objects.get().value.ciphertext
    assert rotation.rotate(lambda *_: None) == 0
    assert Secret.objects.get().value.ciphertext == stored


def test_a_run_that_was_cut_off_is_taken_up_again(db: None, before: Callable[[], None]) -> None:
    for number in range(3):
        factories.make_secret(f"KEY_{number}", f"value-{number}")
    before()
    first = Secret.objects.order_by("pk")[0]
    Secret.objects.filter(pk=first.pk).update(value=sealing.resealed(first, "value"))
    assert rotation.rotate(lambda *_: None) == 2


@pytest.mark.threat("C05")
def test_a_newer_value_is_never_overwritten(db: None, before: Callable[[], None]) -> None:
    stale = factories.make_secret("MCP_KEY", "first")
    before()
    current = Secret.objects.get()
    current.value = seal(current, "value", "second")
    current.save()
    change = rotation._change_of(stale)
    assert change is not None
    assert rotation._written([change]) == 0
    assert open_sealed(Secret.objects.get(), "value") == "second"


@pytest.mark.threat("C05", "C03")
def test_what_does_not_open_is_counted_and_left_alone(alice: User, before: Callable[[], None]) -> None:
    one_of_each(alice)
    VaultEntry.objects.update(access_token=Sealed(b"not ciphertext"))
    before()
    assert "newest 4, older 0, missing 0, unknown 0, unreadable 1 rows" in run()
    assert open_sealed(VaultEntry.objects.get(), "refresh_token") == "upstream-refresh"
    assert not needs_reseal(VaultEntry.objects.get(), "refresh_token")
    assert VaultEntry.objects.get().access_token.ciphertext == b"not ciphertext"


@pytest.mark.threat("C05")
def test_batches_are_small_and_progress_is_told(
    db: None, before: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    for number in range(5):
        factories.make_secret(f"KEY_{number}")
    before()
    told: list[tuple[str, int, int]] = []
    assert rotation.rotate(lambda *progress: told.append(progress)) == 5
    assert told == [("vault_secret", 2, 5), ("vault_secret", 4, 5), ("vault_secret", 5, 5)]


@pytest.mark.threat("C05")
@pytest.mark.django_db(transaction=True)
def test_reads_and_writes_go_on_meanwhile(before: Callable[[], None]) -> None:
    user = factories.make_user("alice")
    provider = factories.make_provider()
    factories.make_vault_entry(user, provider)
    for number in range(60):
        factories.make_secret(f"KEY_{number}", "value")
    before()
    stop, failures, written = threading.Event(), [], []

    def as_thread(work: Callable[[], None]) -> threading.Thread:
        def run_until_stopped() -> None:
            try:
                while not stop.is_set():
                    work()
            except Exception as exc:
                failures.append(exc)
            finally:
                connections.close_all()

        thread = threading.Thread(target=run_until_stopped)
        thread.start()
        return thread

    def read() -> None:
        assert {open_sealed(row, "value") for row in Secret.objects.filter(name__startswith="KEY_")} == {"value"}

    def write() -> None:
        token = f"access-{len(written)}"
        entries.store(
            user_id=user.pk,
            provider_uid=provider.uid,
            fingerprint=provider.fingerprint(),
            tokens=Tokens(token, f"refresh-{token}"),
            scopes_requested=[],
            account="",
            now=timezone.now(),
        )
        written.append(token)

    threads = [as_thread(read), as_thread(write)]
    try:
        while not written and not failures:
            pass
        assert rotation.rotate(lambda *_: None) >= 60
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    stored = VaultEntry.objects.get()
    assert open_sealed(stored, "access_token") == written[-1]
    assert open_sealed(stored, "refresh_token") == f"refresh-{written[-1]}"
    assert not any(needs_reseal(row, "value") for row in Secret.objects.all())


def test_portions_get_smaller_when_a_write_holds_others_up_and_larger_again() -> None:
    pace, rows = rotation._Pace(0), [Secret() for _ in range(1000)]

    def size() -> int:
        return len(next(iter(pace.portions(rows))))

    first = size()
    pace.written(rotation.WRITE_SECONDS * 2)
    assert size() == first // 2
    for _ in range(20):
        pace.written(rotation.WRITE_SECONDS * 2)
    assert size() == 1
    for _ in range(20):
        pace.written(0.001)
    assert size() == rotation.BATCH


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_deadlock_with_another_writer_costs_no_row(before: Callable[[], None]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    one, two = factories.make_secret("ONE"), factories.make_secret("TWO")
    before()
    changes = [change for row in (one, two) if (change := rotation._change_of(row))]
    holds, done = threading.Event(), []

    def the_other_way_round() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '30s'")  # so that it is not this one that gives way
                Secret.objects.filter(pk=two.pk).update(description="two")
                holds.set()
                time.sleep(0.3)
                Secret.objects.filter(pk=one.pk).update(description="one")
            done.append(True)
        finally:
            connections.close_all()

    other = threading.Thread(target=the_other_way_round)
    other.start()
    holds.wait(10)
    assert rotation._written(changes) == 2
    other.join()
    assert done
    assert {row.description for row in Secret.objects.all()} == {"one", "two"}
    assert not any(needs_reseal(row, "value") for row in Secret.objects.all())


@pytest.fixture
def secret(db: None) -> Secret:
    return factories.make_secret("MCP_KEY", "käse\nß 🔑")


@pytest.mark.threat("C06")
def test_an_update_of_a_queryset_round_trips(secret: Secret) -> None:
    Secret.objects.filter(pk=secret.pk).update(value=seal(secret, "value", "neu ü"))
    assert open_sealed(Secret.objects.get(), "value") == "neu ü"
    with pytest.raises(TypeError, match="not plain text"), transaction.atomic():
        Secret.objects.filter(pk=secret.pk).update(value="plain")
    assert open_sealed(Secret.objects.get(), "value") == "neu ü"


@pytest.mark.threat("C06")
def test_bulk_update_is_refused_and_bulk_create_is_not(secret: Secret) -> None:
    with pytest.raises(TypeError, match="bulk_update destroys"):
        Secret.objects.bulk_update([secret], ["value"])
    others = [Secret(name=f"KEY_{number}") for number in range(3)]
    for each in others:
        each.value = seal(each, "value", each.name)
    Secret.objects.bulk_create(others)
    assert {open_sealed(row, "value") for row in Secret.objects.exclude(pk=secret.pk)} == {"KEY_0", "KEY_1", "KEY_2"}


@pytest.mark.threat("C06", "C01")
@pytest.mark.parametrize("kind", ["json", "xml", "jsonl"])
def test_a_fixture_holds_ciphertext_and_comes_back_whole(alice: User, tmp_path: Path, kind: str) -> None:
    one_of_each(alice)
    held = opened()
    file = tmp_path / f"vault.{kind}"
    call_command("dumpdata", "vault", "connections", format=kind, output=str(file))
    dumped = file.read_text()
    for canary in ("s3cret-value", "upstream-access", "upstream-refresh", "canary-pkce"):
        assert canary not in dumped
    for model in (Secret, VaultEntry, PendingRevocation, ConsentRequest, KeyCheck):
        model.objects.all().delete()
    call_command("loaddata", str(file), verbosity=0)
    assert opened() == held


@pytest.mark.threat("C08")
def test_the_same_value_twice_is_two_ciphertexts(alice: User, bob: User) -> None:
    one, two = factories.make_secret("ONE", "same"), factories.make_secret("TWO", "same")
    provider = factories.make_provider()
    rows = [factories.make_vault_entry(user, provider, access_token="same") for user in (alice, bob)]
    sealed = [one.value, two.value, seal(one, "value", "same"), *(row.access_token for row in rows)]
    assert len({each.ciphertext for each in sealed}) == len(sealed)


@pytest.mark.threat("C08")
def test_no_index_covers_a_sealed_column(db: None) -> None:
    for model in standing.sealed_models():
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, model._meta.db_table)
        indexed = {column for each in found.values() for column in each["columns"] or ()}
        assert not indexed & set(rows.columns_of(model))
