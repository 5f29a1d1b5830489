"""Connections as admins see them: never a token; they can be ended."""

import pytest
import responses
from django.contrib.auth.models import Group, User
from django.urls import reverse

from audit.models import Event
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import page, queries_of, signed_in
from vault.models import PendingRevocation, VaultEntry

ACCESS, REFRESH = "canary-access-71b3", "canary-refresh-71b3"


@pytest.fixture
def entry(alice: User) -> VaultEntry:
    """Alice's connection, at a provider that cannot be told of its end."""
    provider = factories.make_provider(revocation_endpoint="", display_name="GitHub")
    return factories.make_vault_entry(
        alice, provider, access_token=ACCESS, refresh_token=REFRESH, account="alice@example.com"
    )


@pytest.mark.threat("C07", "H01")
def test_no_page_shows_a_token_or_its_ciphertext(superuser: User, entry: VaultEntry) -> None:
    client = signed_in(superuser)
    disconnect = reverse("admin:vault_vaultentry_disconnect", args=[entry.pk])
    for url in (page(VaultEntry), page(entry, "change"), page(entry, "history"), disconnect):
        shown = client.get(url).content.decode()
        assert "alice" in shown or "history" in url
        for secret in (
            ACCESS,
            REFRESH,
            entry.access_token.ciphertext.decode(),
            entry.refresh_token.ciphertext.decode(),
        ):
            assert secret not in shown, url


def test_an_admin_disconnects_after_one_question(admin: User, entry: VaultEntry) -> None:
    client = signed_in(admin)
    url = reverse("admin:vault_vaultentry_disconnect", args=[entry.pk])
    assert "alice at github" in client.get(url).content.decode()
    assert VaultEntry.objects.exists()
    answer = client.post(url, {"confirmed": "yes"}, follow=True)
    assert "Disconnected alice at github" in answer.content.decode()
    assert not VaultEntry.objects.exists()
    event = Event.objects.get(action="connection.disconnected")
    assert (event.actor, event.data["reason"]) == ("admin", "admin_revoked")


@responses.activate
def test_the_list_action_asks_and_ends_only_the_chosen(admin: User, bob: User, entry: VaultEntry) -> None:
    provider = factories.make_provider("gitlab", revocation_endpoint="")
    kept = factories.make_vault_entry(bob, provider)
    client = signed_in(admin)
    sent = {"action": "disconnect_selected", "_selected_action": [str(entry.pk)]}
    assert "Disconnect this connection?" in client.post(page(VaultEntry), sent).content.decode()
    assert VaultEntry.objects.count() == 2
    client.post(page(VaultEntry), {**sent, "confirmed": "yes"})
    assert [row.pk for row in VaultEntry.objects.all()] == [kept.pk]
    assert not PendingRevocation.objects.exists()


@pytest.fixture
def many(alice: User, bob: User, entry: VaultEntry) -> VaultEntry:
    """Beside alice's connection: hers at another provider, which is returned, and bob's at the same."""
    factories.make_vault_entry(bob, OAuthProvider.objects.get())
    return factories.make_vault_entry(alice, factories.make_provider("gitlab", revocation_endpoint=""))


@pytest.mark.threat("B17")
def test_an_admin_ends_everything_of_one_user_after_one_question(
    admin: User, bob: User, entry: VaultEntry, many: VaultEntry
) -> None:
    client, url = signed_in(admin), reverse("admin:vault_vaultentry_disconnect_user", args=[entry.pk])
    question = client.get(url).content.decode()
    assert "Disconnect 2 connections?" in question
    assert "bob at" not in question
    assert VaultEntry.objects.count() == 3
    assert "Disconnected 2;" in client.post(url, {"confirmed": "yes"}, follow=True).content.decode()
    assert VaultEntry.objects.get().user_id == bob.pk


@pytest.mark.threat("B17")
def test_an_admin_ends_everything_of_one_provider_after_one_question(
    admin: User, entry: VaultEntry, many: VaultEntry
) -> None:
    client = signed_in(admin)
    provider = OAuthProvider.objects.get(name="github")
    url = reverse("admin:vault_vaultentry_disconnect_everyone", args=[provider.uid])
    assert client.get(reverse("admin:vault_vaultentry_disconnect_provider", args=[entry.pk])).headers["Location"] == url
    assert url in client.get(reverse("admin:providers_oauthprovider_detail", args=[provider.pk])).content.decode()
    assert "Disconnect 2 connections?" in client.get(url).content.decode()
    assert VaultEntry.objects.count() == 3
    assert "Disconnected 2;" in client.post(url, {"confirmed": "yes"}, follow=True).content.decode()
    assert list(VaultEntry.objects.all()) == [many]


@pytest.mark.threat("F05")
def test_who_is_no_admin_is_not_offered_the_end_of_everyone(bob: User, entry: VaultEntry) -> None:
    provider = OAuthProvider.objects.get()
    factories.allow(bob, provider, "view", "change", "delete")
    bob.is_staff = True
    bob.save()
    url = reverse("admin:vault_vaultentry_disconnect_everyone", args=[provider.uid])
    shown = signed_in(bob).get(reverse("admin:providers_oauthprovider_detail", args=[provider.pk])).content.decode()
    assert url not in shown
    for what in ("disconnect_user", "disconnect_provider"):
        one = reverse(f"admin:vault_vaultentry_{what}", args=[entry.pk])
        assert signed_in(bob).post(one, {"confirmed": "yes"}).status_code in {403, 404}
    assert signed_in(bob).post(url, {"confirmed": "yes"}).status_code == 403
    assert VaultEntry.objects.exists()


def test_a_long_selection_is_told_in_the_background(admin: User, entry: VaultEntry) -> None:
    provider = factories.make_provider("many", revocation_endpoint="http://127.0.0.1:9/revoke")
    for number in range(21):
        factories.make_vault_entry(factories.make_user(f"user-{number}"), provider)
    sent = {
        "action": "disconnect_selected",
        "_selected_action": [str(row.pk) for row in VaultEntry.objects.exclude(pk=entry.pk)],
        "confirmed": "yes",
    }
    answer = signed_in(admin).post(page(VaultEntry), sent, follow=True)
    assert "Disconnected 21; the providers are told in the background." in answer.content.decode()
    assert list(VaultEntry.objects.all()) == [entry]
    assert PendingRevocation.objects.count() == 21


@pytest.mark.threat("F05")
def test_only_admins_see_connections_and_nobody_edits_them(admin: User, bob: User, entry: VaultEntry) -> None:
    bob.groups.add(Group.objects.get(name="mcp-editors"))
    bob.is_staff = True
    bob.save()
    disconnect = reverse("admin:vault_vaultentry_disconnect", args=[entry.pk])
    for url in (page(VaultEntry), page(entry, "change"), disconnect):
        assert signed_in(bob).get(url).status_code in {403, 404}
        assert signed_in(bob).post(url, {"confirmed": "yes"}).status_code in {403, 404}
    client = signed_in(admin)
    assert client.get(page(VaultEntry, "add")).status_code == 403
    assert client.post(page(entry, "change"), {"account": "x"}).status_code == 403
    assert client.post(page(entry, "delete"), {"post": "yes"}).status_code == 403
    assert VaultEntry.objects.get().account == "alice@example.com"


def test_attention_and_departed_owners_are_said_in_words(admin: User, alice: User, entry: VaultEntry) -> None:
    VaultEntry.objects.update(attention_reason="invalid_grant")
    client = signed_in(admin)
    assert "no longer accepts the saved sign-in" in client.get(page(entry, "change")).content.decode()
    assert "alice" in client.get(page(VaultEntry) + "?status=needs_attention&provider=github").content.decode()
    assert "alice@example.com" not in client.get(page(VaultEntry) + "?status=connected").content.decode()
    assert "alice@example.com" in client.get(page(VaultEntry) + "?q=alice").content.decode()
    alice.delete()
    entry.refresh_from_db()
    assert client.get(page(VaultEntry)).status_code == 200


def test_the_list_asks_as_often_for_forty_as_for_one(admin: User, entry: VaultEntry) -> None:
    client = signed_in(admin)
    client.get(page(VaultEntry))
    before = queries_of(client, page(VaultEntry))
    provider = factories.make_provider("many")
    for number in range(40):
        factories.make_vault_entry(factories.make_user(f"user-{number}"), provider)
    assert queries_of(client, page(VaultEntry)) == before
