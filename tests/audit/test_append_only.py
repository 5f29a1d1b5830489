"""The database refuses what the models refuse (H05): SQL that goes around them alters nothing."""

import pytest
from django.db import DatabaseError, connection, transaction

from audit import trail
from audit.models import AppendOnlyError, Event

AROUND_THE_MODELS = (
    "UPDATE audit_event SET actor = 'bob'",
    "UPDATE audit_event SET actor = 'bob' WHERE target = 'MCP_KEY'",
    "DELETE FROM audit_event",
    "DELETE FROM audit_event WHERE target = 'MCP_KEY'",
)
REPLACING = (
    "INSERT OR REPLACE INTO audit_event (id, at, action, actor, target_type, target, result, request_id, data) "
    "SELECT id, at, action, 'bob', target_type, target, result, request_id, data FROM audit_event"
)
UPSERTING = "INSERT INTO audit_event SELECT * FROM audit_event WHERE true ON CONFLICT (id) DO UPDATE SET actor = 'bob'"
BY_VENDOR = {"sqlite": [REPLACING, UPSERTING], "postgresql": [UPSERTING, "TRUNCATE audit_event"]}


@pytest.mark.threat("H05")
def test_no_statement_alters_or_deletes_a_row(db: None) -> None:
    trail.record("secret.opened", target_type="secret", target="MCP_KEY")
    before = list(Event.objects.values())
    assert before
    for statement in (*AROUND_THE_MODELS, *BY_VENDOR[connection.vendor]):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert list(Event.objects.values()) == before
    trail.record("secret.opened", target_type="secret", target="OTHER_KEY")
    assert Event.objects.count() == len(before) + 1


@pytest.mark.threat("H05")
def test_neither_the_models_nor_the_manager_beneath_them_can(db: None) -> None:
    trail.record("secret.opened", target_type="secret", target="MCP_KEY")
    event = Event.objects.get()
    for attempt in (event.save, event.delete, Event.objects.all().delete, lambda: Event.objects.update(actor="bob")):
        with pytest.raises(AppendOnlyError):
            attempt()
    with pytest.raises(DatabaseError), transaction.atomic():
        Event._base_manager.filter(pk=event.pk).update(actor="bob")
    with pytest.raises(DatabaseError), transaction.atomic():
        Event._base_manager.filter(pk=event.pk).delete()
    assert Event.objects.get().actor == ""
