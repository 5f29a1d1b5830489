"""Backups made while the gateway serves, and what a restored one does (G12), with two schedulers (B21).

About 30 s; the long form 12 minutes, in which 2,000 connections come back two days old.
"""

import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.aigateway import gateways
from tests.fakes.mail_server import Mailbox, mail_server
from tests.faults import table
from tests.faults.counting import Endpoint, histogram
from tests.faults.far_side import FarSide
from tests.faults.servers import Postgres, RedisServer, postgres_programs
from tests.faults.site import USERS, Site, wait_until

pytestmark = pytest.mark.service(own_servers=True)

GRANT = "rotating/user-0"
MANY = 2000 if table.IS_LONG else 60
SPREAD_SECONDS = 300.0 if table.IS_LONG else 20.0
IN_FLIGHT = 8  # VAULT_REFRESH_CONCURRENCY_PER_PROVIDER
OTHER_KEYS = {"FERNET_KEYS": "another-key-of-a-test-0123456789-0123456789"}
SETTLING_SECONDS = 3.0
# As docs/operations.md has it.
SQLITE_BACKUP = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('VACUUM INTO ?', [sys.argv[2]])"


@dataclass
class Copy:
    """A restored database: the environment of a gateway on it, and all that stands in it."""

    env: dict[str, str]
    content: Callable[[], object]


@pytest.fixture(scope="module")
def production(
    machines: tuple[Postgres, RedisServer], far: FarSide, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, Mailbox]]:
    """Two gateway trees on PostgreSQL and Redis that send mail."""
    postgres, redis = machines
    with mail_server() as mailbox:
        site = Site(
            tmp_path_factory.mktemp("production"),
            far,
            trees=2,
            workers=0,
            DATABASE_URL=postgres.make_database("production"),
            REDIS_URL=f"{redis.url.removesuffix('/0')}/2",
            EMAIL_URL=mailbox.url,
            AIGW_EMAIL_FROM="gateway@example.com",
        )
        site.redis = redis
        try:
            site.start()
            yield site, mailbox
        finally:
            site.stop()


def restored_postgresql(site: Site, postgres: Postgres, folder: Path) -> Copy:
    """Dump while it serves, and restore into a database of its own."""
    (folder / "dump").write_bytes(postgres.dump(site.env["DATABASE_URL"], "--format=custom"))
    url = postgres.make_database("restored")
    command = [f"{postgres_programs()}/pg_restore", "--exit-on-error", "--no-owner", f"--dbname={url}", folder / "dump"]
    subprocess.run(command, check=True, timeout=60)

    def content() -> list[bytes]:
        # The key of \restrict is another one each time.
        return [line for line in postgres.dump(url).splitlines() if b"restrict " not in line]

    return Copy({"DATABASE_URL": url, "REDIS_URL": f"{site.env['REDIS_URL'].rpartition('/')[0]}/3"}, content)


def restored_sqlite(site: Site, folder: Path) -> Copy:
    """Copy while it serves, and put the copy into a folder of its own."""
    name, backup = "aigateway.sqlite3", folder / "backup.sqlite3"
    source = Path(site.env["AIGW_DATA_DIR"]) / name
    subprocess.run([sys.executable, "-c", SQLITE_BACKUP, source, backup], check=True, timeout=60)
    (folder / "data").mkdir()
    shutil.copy(backup, folder / "data" / name)

    def content() -> list[str]:
        connection = sqlite3.connect(folder / "data" / name)
        dumped = list(connection.iterdump())
        connection.close()
        return dumped

    return Copy({}, content)


@pytest.mark.threat("G12")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_backup_serves_elsewhere_with_the_keys_and_stays_sealed_without(
    database: str, request: pytest.FixtureRequest, machines: tuple[Postgres, RedisServer], far: FarSide, tmp_path: Path
) -> None:
    is_sqlite = database == "sqlite"
    site = request.getfixturevalue("embedded_installation") if is_sqlite else request.getfixturevalue("production")[0]
    site.at_rest()
    with site.traffic(USERS[:2]) as traffic:
        copy = restored_sqlite(site, tmp_path) if is_sqlite else restored_postgresql(site, machines[0], tmp_path)
    assert traffic.calls
    assert traffic.failed == [], "nothing stood still for the backup"
    elsewhere = Site(tmp_path, far, trees=1, workers=0, **copy.env)
    elsewhere.redis = site.redis
    before = copy.content()
    refuses_without_the_keys({**elsewhere.env, **OTHER_KEYS}, tmp_path / "refused.log")
    assert copy.content() == before, "nothing was written"
    try:
        elsewhere.start(site.tokens)
        assert all(elsewhere.call(user).succeeded for user in USERS[:3])
        elsewhere.make_due(GRANT)
        elsewhere.renewed(GRANT, within=20)
    finally:
        elsewhere.stop()


def refuses_without_the_keys(env: dict[str, str], log: Path) -> None:
    """Check that a gateway does not start, and says why."""
    with gateways.serving(log, env=env) as gateway:
        assert gateway.process.wait(timeout=60) != 0
        assert "FERNET_KEYS does not open this database's vault" in gateway.output
        assert "ready http" not in gateway.output


@table.rounds
@pytest.mark.threat("G12", "B21")
@pytest.mark.parametrize("seconds", [0, SPREAD_SECONDS], ids=["at once", "after_restore"])
def test_a_snapshot_that_its_provider_has_outlived_causes_no_storm(
    production: tuple[Site, Mailbox], endpoint: Endpoint, seconds: float
) -> None:
    site, mailbox = production
    site.at_rest()
    mailbox.mails.clear()
    site.inside("snapshot", url=f"{endpoint.base}/refuse", count=MANY, days=2)
    began = time.monotonic()
    if seconds:
        done = gateways.manage("after_restore", "--spread-minutes", str(seconds / 60), env=site.env)
        assert f"{MANY}  renewals spread" in done.stdout, done.stdout + done.stderr
    site.inside("enable")
    expected = {"invalid_grant": MANY}
    took = wait_until(
        lambda: site.inside("crowd_reasons") == expected,
        300 + seconds,
        "all ended",
        lambda: site.inside("crowd_reasons"),
    )
    site.inside("deliver", task="refresh_due", times=10)
    wait_until(lambda: len(mailbox.mails) >= MANY, 120, "everybody was told", lambda: len(mailbox.mails))
    time.sleep(SETTLING_SECONDS)
    seen = endpoint.seen()
    table.note(
        f"{MANY:,} connections of a two-day-old backup, refused{f', spread over {seconds:.0f} s' if seconds else ''}: "
        f"{len(seen['arrivals']):,} requests in {took:.0f} s, at most {seen['most_in_flight']} in flight, per tenth of "
        f"that time {histogram(seen['arrivals'])}"
    )
    assert len(seen["arrivals"]) == MANY, "each was tried once, and nothing tries again"
    assert seen["twice"] == 0
    assert seen["most_in_flight"] <= IN_FLIGHT
    # From the command on: what fell due while the provider was still being enabled comes together, on a busy machine.
    assert max(seen["arrivals"]) - began > 0.7 * seconds
    assert sorted(seen["arrivals"])[MANY // 2] - began > 0.2 * seconds
    told = Counter(line for mail in mailbox.mails for line in mail.splitlines() if line.startswith("To: "))
    assert told == {f"To: crowd-{number}@example.com": 1 for number in range(MANY)}
