"""The pool's question whether a connection is alive: asked of one that was silent, or ended, and of no other."""

from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from aigateway import silence

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def opened():
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    given = {**connection.get_connection_params()}
    for name in ("pool", "cursor_factory", "context", "prepare_threshold"):
        given.pop(name, None)
    with silence.Connection.connect(**given, autocommit=True) as one:
        yield one


@contextmanager
def asked(opened, monkeypatch):
    """Count the statements that go to the server."""
    seen: list[object] = []
    real = psycopg.Connection.execute
    monkeypatch.setattr(psycopg.Connection, "execute", lambda *args: seen.append(args) or real(*args))
    yield seen


def test_a_connection_that_was_heard_just_now_is_not_asked(opened, monkeypatch) -> None:
    with opened.cursor() as cursor:
        cursor.execute("SELECT 1")
    with asked(opened, monkeypatch) as seen:
        opened.execute("")
    assert seen == []


def test_one_that_was_silent_for_a_while_is_asked(opened, monkeypatch) -> None:
    with opened.cursor() as cursor:
        cursor.execute("SELECT 1")
    monkeypatch.setattr(silence, "HEARD_SECONDS", 0.0)
    with asked(opened, monkeypatch) as seen:
        opened.execute("")
    assert len(seen) == 1


def test_one_that_the_server_has_ended_is_noticed_however_lately_it_was_heard(opened, monkeypatch) -> None:
    with opened.cursor() as cursor:
        cursor.execute("SELECT 1")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [opened.info.backend_pid])
    monkeypatch.setattr(silence, "HEARD_SECONDS", 60.0)
    with pytest.raises(psycopg.OperationalError):
        opened.execute("")
