"""The trail in the admin: read, never written."""

from django.contrib.auth.models import Group, User

from audit import trail
from audit.models import Event
from tests.admin_pages import page, queries_of, signed_in


def test_the_trail_is_shown_escaped_and_cannot_be_changed(superuser: User) -> None:
    trail.record("oauth.callback.user_mismatch", actor=superuser, target="<script>x</script>", result=trail.REFUSED)
    event, client = Event.objects.get(action="oauth.callback.user_mismatch"), signed_in(superuser)
    for url in (page(Event), page(Event) + "?q=user_mismatch&result__exact=refused", page(event, "change")):
        shown = client.get(url).content.decode()
        assert "oauth.callback.user_mismatch" in shown
        assert "<script>x" not in shown
    assert client.get(page(Event, "add")).status_code == 403
    assert client.post(page(event, "change"), {"actor": "bob"}).status_code == 403
    assert client.post(page(event, "delete"), {"post": "yes"}).status_code == 403
    client.post(page(Event), {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"})
    assert Event.objects.get(pk=event.pk).actor == "root"


def test_it_says_whose_connection_it_is_about(superuser: User, alice: User, bob: User) -> None:
    trail.record("connection.disconnected", actor=superuser, target="github", user_id=alice.pk)
    trail.record("connection.collected", target="github", user_id=bob.pk)
    bob.delete()
    client, event = signed_in(superuser), Event.objects.get(action="connection.disconnected")
    listed = client.get(page(Event)).content.decode()
    assert "Whose" in listed
    assert "alice" in listed
    assert "deleted user" in listed
    assert "alice" in client.get(page(event, "change")).content.decode()


def test_only_admins_read_it(admin: User, alice: User) -> None:
    alice.groups.add(Group.objects.get(name="mcp-editors"))
    assert signed_in(admin).get(page(Event)).status_code == 200
    assert signed_in(alice).get(page(Event)).status_code == 403


def test_the_list_asks_as_often_for_forty_as_for_one(admin: User) -> None:
    client = signed_in(admin)
    trail.record("secret.opened", actor=admin, target="KEY", user_id=admin.pk)
    client.get(page(Event))
    before = queries_of(client, page(Event))
    for number in range(40):
        trail.record("secret.opened", actor=admin, target=f"KEY_{number}", user_id=number)
    assert queries_of(client, page(Event)) == before
