"""Two installations that faults are made in, and the table of what they cost."""

import time
from collections.abc import Iterator

import pytest

from tests.faults import servers, table
from tests.faults.counting import Endpoint, counting_endpoint
from tests.faults.far_side import FarSide, far_side
from tests.faults.servers import Postgres, RedisServer
from tests.faults.site import Site


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the short form what only the long form has time for."""
    left_out = [item for item in items if not table.IS_LONG and item.get_closest_marker("long_form")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def far() -> Iterator[FarSide]:
    """The providers and their MCP server."""
    with far_side() as fake:
        yield fake


@pytest.fixture(scope="session")
def machines() -> Iterator[tuple[Postgres, RedisServer]]:
    """A PostgreSQL and a Redis."""
    if absent := servers.missing():
        pytest.skip(f"needs {absent}")
    postgres, redis = Postgres(), RedisServer()
    try:
        postgres.start()
        redis.start()
        yield postgres, redis
    finally:
        redis.kill()
        postgres.remove()


@pytest.fixture(scope="session")
def installation(
    machines: tuple[Postgres, RedisServer], far: FarSide, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """PostgreSQL, Redis, two gateway trees (so two schedulers) and a worker that belongs to neither."""
    postgres, redis = machines
    folder = tmp_path_factory.mktemp("site")
    site = Site(folder, far, trees=2, workers=1, DATABASE_URL=postgres.url, REDIS_URL=redis.url)
    site.postgres, site.redis = postgres, redis
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="session")
def embedded_installation(far: FarSide, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One gateway process with everything in it, on SQLite."""
    site = Site(tmp_path_factory.mktemp("embedded"), far, trees=1, workers=0)
    try:
        site.start()
        yield site
    finally:
        site.stop()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A token endpoint that counts."""
    with counting_endpoint() as serving:
        yield serving


@pytest.fixture
def injection() -> int:
    """The number of the round; `table.rounds` says which."""
    return 1


@pytest.fixture
def site(installation: Site) -> Site:
    """The installation on PostgreSQL and Redis, all parts up and every user freshly connected."""
    return installation.at_rest()


@pytest.fixture
def embedded(embedded_installation: Site) -> Site:
    """The embedded one, likewise."""
    return embedded_installation.at_rest()


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Print the table, and how long it took to fill."""
    yield
    if found := table.lines():
        terminalreporter.section(f"faults, {table.ROUNDS} round(s) each, at {time.strftime('%Y-%m-%d %H:%M')}")
        for line in found:
            terminalreporter.write_line(line)
