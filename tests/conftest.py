"""The actors, the settings of a test gateway, and a guard against unplanned network calls."""

import os
import socket
from collections.abc import Generator, Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests import factories

BASE_URL = "https://gateway.test"
SERVICE_URLS = ("TEST_DATABASE_URL", "TEST_REDIS_URL")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `service` where no services are named."""
    if missing := [name for name in SERVICE_URLS if not os.environ.get(name)]:
        reason = pytest.mark.skip(reason=f"needs {' and '.join(missing)}")
        for item in items:
            if item.get_closest_marker("service"):
                item.add_marker(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, count a service test that was skipped, for whatever reason, as failed."""
    report = yield
    if report.skipped and os.environ.get("AIGW_CI") and item.get_closest_marker("service"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} is a service test and must run in CI: {report.longrepr}"
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
def nothing_remembered() -> None:
    """Start every test with empty memories."""
    from changes import counter
    from clients import throttle

    counter.drop_remembered()
    throttle.reset()


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
