"""Every way in which a connection ends, tried while its refresh is in flight: what comes late is revoked as well."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from connections import tasks
from connections.errors import TokenError
from connections.revocation import disconnect
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import page, signed_in
from tests.api import CONNECTIONS, send
from tests.connections.test_refresh import make_expired, use
from tests.fakes.rotating_provider import RotatingProvider
from vault.models import PendingRevocation, VaultEntry

FORMER = {("refresh_token", "upstream-refresh"), ("access_token", "upstream-access")}
LATE = {("refresh_token", "refresh-2"), ("access_token", "access-1")}


def by_the_user(alice: User, **_: Any) -> None:
    disconnect(alice.pk, VaultEntry.objects.get().provider_uid, reason="user_disconnected", actor=alice)


def by_api(alice: User, **_: Any) -> None:
    send(alice, "delete", f"{CONNECTIONS}rotating/")


def by_page(alice: User, **_: Any) -> None:
    signed_in(alice).post(reverse("connection-disconnect", args=["rotating"]))


def by_admin(what: str) -> Callable[..., None]:
    def end(admin: User, **_: Any) -> None:
        url = reverse(f"admin:vault_vaultentry_{what}", args=[VaultEntry.objects.get().pk])
        signed_in(admin).post(url, {"confirmed": "yes"})

    return end


def by_admin_of_all(admin: User, rotating: OAuthProvider, **_: Any) -> None:
    url = reverse("admin:vault_vaultentry_disconnect_everyone", args=[rotating.uid])
    signed_in(admin).post(url, {"confirmed": "yes"})


def by_list_action(admin: User, **_: Any) -> None:
    chosen = [str(VaultEntry.objects.get().pk)]
    sent = {"action": "disconnect_selected", "_selected_action": chosen, "confirmed": "yes"}
    signed_in(admin).post(page(VaultEntry), sent)


def by_offboarding(**_: Any) -> None:
    call_command("offboard", "alice", verbosity=0)


def by_offboarding_but_kept(**_: Any) -> None:
    call_command("offboard", "alice", "--keep-user", verbosity=0)


def by_deactivation(alice: User, **_: Any) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    tasks.collect_orphans.apply()


def by_deletion_of_the_user(**_: Any) -> None:
    User.objects.filter(username="alice").delete()
    tasks.collect_orphans.apply()


def by_deletion_of_the_provider(rotating: OAuthProvider, **_: Any) -> None:
    rotating.delete()
    tasks.collect_orphans.apply()


WAYS: list[Callable[..., None]] = [
    by_the_user,
    by_api,
    by_page,
    by_admin("disconnect"),
    by_admin("disconnect_user"),
    by_admin_of_all,
    by_list_action,
    by_offboarding,
    by_offboarding_but_kept,
    by_deactivation,
    by_deletion_of_the_user,
    by_deletion_of_the_provider,
]


@pytest.mark.threat("B17", "B19")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__)
def test_a_refresh_in_flight_brings_nothing_back(
    end: Callable[..., None], alice: User, admin: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)

    def end_meanwhile() -> None:
        try:
            end(alice=alice, admin=admin, rotating=OAuthProvider.objects.get())
        finally:
            connection.close()

    upstream.after_rotating = [end_meanwhile]
    with pytest.raises(TokenError):
        use(alice, rotating)
    assert not VaultEntry.objects.exists()
    for _ in range(2):
        PendingRevocation.objects.update(try_at=timezone.now())
        tasks.retry_revocations.apply()
    assert set(upstream.revoked) == FORMER | LATE
    assert not PendingRevocation.objects.exists()
    with pytest.raises(TokenError):
        use(alice, rotating)


@pytest.mark.threat("B17")
@pytest.mark.parametrize("end", WAYS, ids=lambda way: way.__name__)
def test_bobs_connection_elsewhere_stays(
    end: Callable[..., None],
    alice: User,
    bob: User,
    admin: User,
    rotating: OAuthProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = factories.make_provider("elsewhere")
    alices = factories.make_vault_entry(alice, rotating)
    bobs = factories.make_vault_entry(bob, elsewhere)
    monkeypatch.setattr(VaultEntry.objects, "get", lambda: alices)
    end(alice=alice, admin=admin, rotating=rotating)
    assert list(VaultEntry.objects.all()) == [bobs]
    assert use(bob, elsewhere).access_token == "upstream-access"
