"""The actors, the settings of a test gateway, and a guard against unplanned network calls."""

import os
import socket
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from tests import emptying, factories

BASE_URL = "https://gateway.test"
MUST_RUN_IN_CI = ("service", "real_client", "browser")
SERVICE_URLS = ("TEST_DATABASE_URL", "TEST_REDIS_URL")
DATABASE_FIXTURES = {"db", "transactional_db", "live_server"}
# About a wire, a browser or clients of others; whatever of it reaches the database has tests of its own.
ON_ANY_DATABASE = (
    "tests/browser/",
    "tests/real_clients/",
    "tests/dataplane/bridging/test_malformed.py",
    "tests/dataplane/bridging/test_pairs.py",
    "tests/dataplane/bridging/test_shapes.py",
    "tests/dataplane/bridging/test_unhappy.py",
)
FAULTS = "tests/faults/"
LONG = (
    FAULTS,
    "tests/aigateway/test_serve.py",
    "tests/demo/",
    "tests/real_clients/",
    "tests/browser/",
    "tests/aigateway/",
    "tests/dataplane/bridging/",
    "tests/test_canaries.py",
    "tests/connections/",
    "tests/dataplane/",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Deal tests out to one process more than there are cores: many wait for another process or a time limit."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Mark tests that use the database; skip those marked `service` where no services are named; begin with the long.

    Not skipped are service tests that start their own.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
        uses = item.get_closest_marker("django_db") or DATABASE_FIXTURES & set(getattr(item, "fixturenames", ()))
        if uses and not item.nodeid.startswith(ON_ANY_DATABASE):
            item.add_marker("database")
    if missing := [name for name in SERVICE_URLS if not os.environ.get(name)]:
        reason = pytest.mark.skip(reason=f"needs {' and '.join(missing)}")
        for item in items:
            service = item.get_closest_marker("service")
            if service and not service.kwargs.get("own_servers"):
                item.add_marker(reason)
    yield
    items.sort(key=_rank)


def _group(item: pytest.Item) -> str:
    """Return what one process is to run: a file, or the faults made in one installation, or all others.

    Two faults at a time are enough, where the time to recover counts. pytest-xdist 3.8 beside pytest 9.2 does not heed
    it: tests of one group come to several processes, each of which makes the group's fixtures.
    """
    if not item.nodeid.startswith(FAULTS):
        return item.nodeid.partition("::")[0]
    return "installation" if "installation" in getattr(item, "fixturenames", ()) else "faults"


def _rank(item: pytest.Item) -> int:
    """Return how early a test is to begin: a long one that begins last is waited for by everyone else."""
    return next((rank for rank, path in enumerate(LONG) if item.nodeid.startswith(path)), len(LONG))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, count a test of a service, a real client or a browser that was skipped, for whatever reason, as failed."""
    report = yield
    marks = [name for name in MUST_RUN_IN_CI if item.get_closest_marker(name)]
    if report.skipped and os.environ.get("AIGW_CI") and marks:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} is marked {marks[0]} and must run in CI: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def no_unplanned_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that connects anywhere but this machine."""
    real_connect = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            host = address[0]  # type: ignore[index]
            assert host.startswith("127.") or host in {"::1", "localhost"}, f"unplanned network call to {host}"
        real_connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect)
    return iter(())


@pytest.fixture(autouse=True)
def no_names_of_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no name but this machine's resolve, at once: a test neither waits for a name server nor depends on one."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or ""
        is_ours = name.rstrip(".").endswith("localhost") or not name or _is_address(name)
        if not is_ours:
            raise socket.gaierror(socket.EAI_NONAME, "no names are resolved in tests")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def _is_address(name: str) -> bool:
    try:
        socket.inet_aton(name)
    except OSError:
        return ":" in name
    return True


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Remember the fresh database; at last end what threads left open on it, which could not be dropped otherwise."""
    with django_db_blocker.unblock():
        emptying.remember()
    yield
    with django_db_blocker.unblock():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Start every test with empty memories."""
    from celery._state import _set_task_join_will_block
    from celery.worker import state

    from changes import counter
    from clients import throttle

    counter.drop_remembered()
    throttle.reset()
    # An embedded worker of an earlier test leaves them set for the whole process.
    _set_task_join_will_block(False)
    state.should_stop = state.should_terminate = None


@pytest.fixture
def alice(db: None) -> User:
    """Owns things."""
    return factories.make_user("alice")


@pytest.fixture
def bob(db: None) -> User:
    """Must not see or touch what is alice's."""
    return factories.make_user("bob")


@pytest.fixture
def admin(db: None) -> User:
    """A member of the group `admins`, no superuser."""
    user = factories.make_user("admin")
    user.groups.add(Group.objects.get(name="admins"))
    return user


@pytest.fixture
def superuser(db: None) -> User:
    """May do everything."""
    return factories.make_user("root", is_staff=True, is_superuser=True)


@pytest.fixture
def browser() -> Client:
    """A browser at the public address, with CSRF enforced and https."""
    return Client(
        enforce_csrf_checks=True,
        headers={"host": "gateway.test"},
        SERVER_NAME="gateway.test",
        **{"wsgi.url_scheme": "https"},
    )
