"""A row whose ciphertext does not open: its user is told, everybody else is served, and it heals with its key (C03)."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from audit.models import Event
from connections import cleanup, scan, tasks
from connections.errors import ConnectionRequired
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_refresh import make_expired, use
from tests.fakes.rotating_provider import RotatingProvider
from vault import entries
from vault.fields import Sealed
from vault.models import VaultEntry

pytestmark = pytest.mark.threat("C03")


def damage(entry: VaultEntry, *columns: str) -> None:
    """Change one byte of each column."""
    entry.refresh_from_db()
    for column in columns or ("access_token", "refresh_token"):
        sealed = getattr(entry, column).ciphertext
        changed = sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:]
        VaultEntry.objects.filter(pk=entry.pk).update(**{column: Sealed(changed)})


def events(action: str = "connection.unreadable") -> int:
    return Event.objects.filter(action=action).count()


def shown(browser: Client, name: str = "rotating") -> dict[str, Any]:
    answer: dict[str, Any] = browser.get(f"/api/v1/connections/{name}/").json()
    return answer


def test_its_call_asks_to_connect_and_is_audited_once(alice: User, rotating: OAuthProvider) -> None:
    entry = factories.make_vault_entry(alice, rotating)
    damage(entry)
    for _ in range(5):
        with pytest.raises(ConnectionRequired):
            use(alice, rotating)
    assert events() == 1
    entry.refresh_from_db()
    assert (entry.attention_reason, entry.access_token is None) == ("unreadable", False)


@pytest.mark.django_db(transaction=True)
def test_its_renewal_notes_it_once_and_leaves_it_alone(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = make_expired(alice, rotating, refresh_due_at=timezone.now())
    make_expired(bob, rotating, refresh_due_at=timezone.now())
    damage(entry)
    assert scan.refresh_due() == {"refreshed": 1, "failed": 1}
    assert scan.refresh_due() == {"refreshed": 0, "failed": 0}
    assert events() == 1
    assert upstream.refreshes == ["upstream-refresh"]


@pytest.mark.parametrize("column", ["access_token", "refresh_token"])
@pytest.mark.parametrize("is_called_first", [False, True])
def test_card_and_api_say_so_whether_or_not_a_call_has_found_it(
    column: str, is_called_first: bool, alice: User, alices: Client, rotating: OAuthProvider
) -> None:
    damage(factories.make_vault_entry(alice, rotating), column)
    if is_called_first and column == "access_token":
        with pytest.raises(ConnectionRequired):
            use(alice, rotating)
    found = shown(alices)
    assert (found["status"], found["attention_reason"]) == ("needs_attention", "unreadable")
    page = alices.get("/connections/").content.decode()
    assert "unreadable: it no longer opens. Reconnect to go on" in page
    assert "Needs attention" in page


def test_admins_see_which_one_it_is(alice: User, bob: User, browser: Client, rotating: OAuthProvider) -> None:
    damage(factories.make_vault_entry(alice, rotating))
    factories.make_vault_entry(bob, rotating)
    browser.force_login(User.objects.create_superuser("root"))
    page = browser.get("/admin/vault/vaultentry/").content.decode()
    assert page.count("Unreadable: reconnect") == 1
    entry = VaultEntry.objects.get(user_id=alice.pk)
    detail = browser.get(f"/admin/vault/vaultentry/{entry.pk}/change/").content.decode()
    assert "unreadable: it no longer opens" in detail


def test_looking_at_it_writes_nothing(alice: User, alices: Client, rotating: OAuthProvider) -> None:
    damage(factories.make_vault_entry(alice, rotating))
    alices.get("/connections/")
    shown(alices)
    assert events() == 0
    assert VaultEntry.objects.get().attention_reason == ""


def test_collection_leaves_it_to_its_user(alice: User, rotating: OAuthProvider) -> None:
    damage(factories.make_vault_entry(alice, rotating))
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    tasks.collect_orphans.apply().get()
    assert cleanup.waiting().total == 0
    assert VaultEntry.objects.get().attention_reason == "unreadable"


@pytest.mark.parametrize("way", ["call", "collection"])
def test_it_heals_when_its_key_comes_back(
    way: str, alice: User, alices: Client, rotating: OAuthProvider, settings: Any
) -> None:
    expires_at = timezone.now() + timedelta(hours=1)
    factories.make_vault_entry(alice, rotating, expires_at=expires_at)
    keys = settings.FERNET_KEYS
    settings.FERNET_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    assert shown(alices)["attention_reason"] == "unreadable"
    settings.FERNET_KEYS = keys
    assert shown(alices)["attention_reason"] == "", "the page knows at once"
    if way == "call":
        assert use(alice, rotating).access_token == "upstream-access"
    else:
        tasks.collect_orphans.apply().get()
    entry = VaultEntry.objects.get()
    assert entry.attention_reason == ""
    assert entry.refresh_due_at is not None
    assert entry.refresh_due_at < expires_at
    assert (events(), events("connection.readable")) == (1, 1)
    assert use(alice, rotating).access_token == "upstream-access"


def test_what_it_lacked_before_it_lacks_when_it_opens_again(
    alice: User, rotating: OAuthProvider, settings: Any
) -> None:
    OAuthProvider.objects.update(scopes=["read", "write"])
    factories.make_vault_entry(
        alice, rotating, scopes_requested=["read", "write"], scopes_granted=["read"], attention_reason="missing_scopes"
    )
    keys = settings.FERNET_KEYS
    settings.FERNET_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    settings.FERNET_KEYS = keys
    tasks.collect_orphans.apply().get()
    assert VaultEntry.objects.get().attention_reason == "missing_scopes"


def test_connecting_again_is_the_way_out(alice: User, rotating: OAuthProvider) -> None:
    damage(factories.make_vault_entry(alice, rotating))
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    entries.store(
        user_id=alice.pk,
        provider_uid=rotating.uid,
        fingerprint=rotating.fingerprint(),
        tokens=entries.Tokens("new", "new-refresh", None, None, ["read"]),
        scopes_requested=["read"],
        account="",
        now=timezone.now(),
    )
    assert use(alice, rotating).access_token == "new"
    assert VaultEntry.objects.get().attention_reason == ""
