"""Every transactional test finds the database as fresh as the first one did."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import DatabaseError, connection
from django.test import TransactionTestCase

from audit.models import Event
from tests import emptying, factories

pytestmark = pytest.mark.django_db(transaction=True)


def _rows() -> dict[str, int]:
    """Count the rows of every table."""
    with connection.cursor() as cursor:
        found = {}
        for name in connection.introspection.django_table_names(only_existing=True):
            cursor.execute(f"SELECT count(*) FROM {name}")  # noqa: S608
            found[name] = cursor.fetchone()[0]
    return found


def _fill() -> None:
    user = factories.make_user("alice")
    team = Group.objects.create(name="team")
    team.permissions.add(Permission.objects.first())
    user.groups.add(team, Group.objects.get(name="admins"))
    user.user_permissions.add(Permission.objects.last())
    factories.make_server("notes")
    Event.objects.create(action="tried")


def test_what_a_test_made_is_gone_and_what_migrations_made_is_not() -> None:
    fresh = _rows()
    _fill()
    assert _rows() != fresh
    emptying.empty()
    assert _rows() == fresh
    assert set(Group.objects.values_list("name", flat=True)) == {"admins", "mcp-editors", "members"}


def test_what_a_test_took_away_or_altered_is_made_again() -> None:
    fresh = _rows()
    _fill()
    Group.objects.get(name="members").delete()
    Permission.objects.filter(codename="view_mcpserver").update(name="Altered")
    emptying.empty()
    assert _rows() == fresh
    assert Group.objects.get(name="members").permissions.exists()
    assert not Permission.objects.filter(name="Altered").exists()
    emptying.empty()
    assert _rows() == fresh


def test_the_trail_is_append_only_again_afterwards() -> None:
    for _ in range(2):
        Event.objects.create(action="tried")
        emptying.empty()
    event = Event.objects.create(action="tried")
    with pytest.raises(DatabaseError, match="altered or deleted|append"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM audit_event WHERE id = %s", [event.pk])
    assert Event.objects.count() == 1


def test_it_is_what_ends_transactional_tests() -> None:
    assert TransactionTestCase._fixture_teardown is emptying.empty  # type: ignore[attr-defined]
    assert not User.objects.exists()
