"""Secrets in the admin: the value goes in and never comes out."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm

from audit.models import Event
from tests import factories
from tests.admin_pages import filled, page, queries_of, signed_in
from vault.models import Secret
from vault.sealing import open_sealed

CANARY = "canary-3f81c2-value"


@pytest.mark.threat("C07")
def test_no_page_ever_shows_the_value(superuser: User) -> None:
    client = signed_in(superuser)
    assert client.post(page(Secret, "add"), {"name": "MCP_KEY", "new_value": CANARY}).status_code == 302
    secret = Secret.objects.get(name="MCP_KEY")
    assert open_sealed(secret, "value") == CANARY
    for what in ("change", "history", "delete", "rights_page"):
        assert CANARY not in client.get(page(secret, what)).content.decode()
    assert CANARY not in client.get(page(Secret)).content.decode()
    assert CANARY not in client.get(page(Secret) + "?q=canary").content.decode()
    assert CANARY not in "".join(f"{row.object_repr}{row.change_message}" for row in LogEntry.objects.all())
    assert CANARY not in str(list(Event.objects.values()))


@pytest.mark.threat("C07")
def test_a_refused_form_does_not_send_the_value_back(superuser: User) -> None:
    answer = signed_in(superuser).post(page(Secret, "add"), {"name": "lower", "new_value": CANARY})
    assert answer.status_code == 200
    assert CANARY not in answer.content.decode()
    assert "A-Z, 0-9 and underscore" in answer.content.decode()
    assert not Secret.objects.exists()


@pytest.mark.threat("C07")
def test_an_empty_value_keeps_what_is_stored(superuser: User) -> None:
    secret = factories.make_secret("MCP_KEY", CANARY)
    client = signed_in(superuser)
    sent = filled(client, page(secret, "change"), description="For the weather")
    assert sent["new_value"] == ""
    assert client.post(page(secret, "change"), sent).status_code == 302
    secret.refresh_from_db()
    assert secret.description == "For the weather"
    assert open_sealed(secret, "value") == CANARY
    client.post(page(secret, "change"), {**sent, "new_value": "rotated"})
    secret.refresh_from_db()
    assert open_sealed(secret, "value") == "rotated"
    assert Event.objects.filter(action="secret.rotated").count() == 1


def test_a_new_secret_needs_a_value_and_keeps_its_name(superuser: User) -> None:
    client = signed_in(superuser)
    assert "Give the value" in client.post(page(Secret, "add"), {"name": "MCP_KEY"}).content.decode()
    secret = factories.make_secret("MCP_KEY")
    client.post(page(secret, "change"), {"name": "OTHER_KEY", "description": "x"})
    secret.refresh_from_db()
    assert (secret.name, secret.description) == ("MCP_KEY", "x")


def test_a_secret_in_use_is_named_and_stays(superuser: User) -> None:
    factories.make_provider()
    secret = Secret.objects.get()
    client = signed_in(superuser)
    assert "oauth-provider github" in client.get(page(Secret)).content.decode()
    assert "oauth-provider github uses GITHUB_CLIENT_SECRET" in client.get(page(secret, "delete")).content.decode()
    client.post(page(secret, "delete"), {"post": "yes"})
    client.post(page(Secret), {"action": "delete_selected", "_selected_action": [secret.pk], "post": "yes"})
    assert Secret.objects.filter(pk=secret.pk).exists()


def test_a_used_secret_goes_when_its_users_were_shown_and_accepted(superuser: User) -> None:
    factories.make_provider()
    secret = Secret.objects.get()
    client = signed_in(superuser)
    refused = client.get(page(secret, "delete")).content.decode()
    assert 'href="?force=true"' in refused
    assert 'name="post"' not in refused
    shown = client.get(f"{page(secret, 'delete')}?force=true").content.decode()
    assert "oauth-provider github uses GITHUB_CLIENT_SECRET, and will fail" in shown
    assert 'name="post"' in shown
    assert Secret.objects.exists()
    client.post(
        f"{page(Secret)}?force=true", {"action": "delete_selected", "_selected_action": [secret.pk], "post": "yes"}
    )
    assert Secret.objects.exists()
    client.post(f"{page(secret, 'delete')}?force=true", {"post": "yes"})
    assert not Secret.objects.exists()
    assert Event.objects.get(action="secret.deleted").data["used_by"] == ["oauth-provider github"]


def test_an_unused_secret_is_deleted_through_its_verb(superuser: User) -> None:
    secret = factories.make_secret()
    signed_in(superuser).post(page(secret, "delete"), {"post": "yes"})
    assert not Secret.objects.exists()
    assert Event.objects.filter(action="secret.deleted").exists()


@pytest.mark.threat("C03")
def test_an_unreadable_row_breaks_no_page(superuser: User) -> None:
    from vault.fields import Sealed

    Secret.objects.filter(pk=factories.make_secret("BROKEN").pk).update(value=Sealed(b"not ciphertext"))
    client = signed_in(superuser)
    assert client.get(page(Secret)).status_code == 200
    assert client.get(page(Secret.objects.get(), "change")).status_code == 200


def test_who_may_only_view_sees_the_name_and_no_field(alice: User) -> None:
    alice.is_staff = True
    alice.save()
    shown, hidden = factories.make_secret("SHOWN"), factories.make_secret("HIDDEN")
    assign_perm("view_secret", alice, shown)
    client = signed_in(alice)
    listed = client.get(page(Secret)).content.decode()
    assert "SHOWN" in listed
    assert "HIDDEN" not in listed
    detail = client.get(page(shown, "change"))
    assert detail.status_code == 200
    assert 'name="new_value"' not in detail.content.decode()
    assert client.post(page(shown, "change"), {"description": "x"}).status_code == 403
    assert client.get(page(hidden, "change")).status_code == 404


def test_the_list_asks_as_often_for_thirty_as_for_one(superuser: User) -> None:
    client = signed_in(superuser)
    factories.make_secret()
    client.get(page(Secret))
    before = queries_of(client, page(Secret))
    for number in range(30):
        factories.make_secret(f"KEY_{number}")
    assert queries_of(client, page(Secret)) == before
