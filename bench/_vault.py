"""What the vault's benchmarks share: a gateway's database in a folder of its own, filled by the row.

Each runs once on the embedded SQLite and once on a PostgreSQL that is started for it, where one is installed, in a
process of its own, which `main` starts. `--sizes 1000,10000` takes other sizes, `--on SQLite` one database.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults import servers

if TYPE_CHECKING:
    from providers.models import OAuthProvider

PROJECT = Path(__file__).resolve().parent.parent
AT_ONCE = 500
OLD_KEY, NEW_KEY = "benchmark-key-of-last-year-0123456789", "benchmark-key-of-this-year-0123456789"


def main(script: str, measure: Callable[[], None], job: Callable[[], object] | None = None) -> None:
    """Run `measure` on each database; it may have its `job` done in a child, by `peak_of_job`."""
    if os.environ.get("BENCH_DATABASE"):
        _prepare()
        if job is not None and "BENCH_JOB" in os.environ:
            job()
            print(peak_megabytes())
        else:
            measure()
        return
    asked, _ = _arguments().parse_known_args()
    for name, url in _databases(asked.on):
        print(f"-- on {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder, token_endpoint() as endpoint:
            env = {
                **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
                "PYTHONPATH": str(PROJECT),
                "BENCH_DATABASE": name,
                "BENCH_SIZES": asked.sizes,
                "BENCH_TOKEN_ENDPOINT": endpoint,
                "DJANGO_SETTINGS_MODULE": "aigateway.settings",
                "AIGW_DATA_DIR": folder,
                "AIGW_LOG_LEVEL": "ERROR",
                "AIGW_OUTBOUND_ALLOW": "127.0.0.1",
                "SECRET_KEY": "benchmark-signing-key-0123456789-0123456789",
                "FERNET_KEYS": f"{NEW_KEY},{OLD_KEY}",
                **({"DATABASE_URL": url} if url else {}),
            }
            subprocess.run([sys.executable, "-W", "ignore", script], env=env, cwd=PROJECT, check=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="", help="rows, such as 1000,10000, in place of the script's own")
    parser.add_argument("--on", choices=["SQLite", "PostgreSQL"], help="one database only")
    return parser


def sizes(usual: Sequence[int]) -> list[int]:
    """Return the sizes to measure: those that were asked for, or else the `usual` ones."""
    asked = os.environ.get("BENCH_SIZES", "")
    return [int(size) for size in asked.split(",")] if asked else list(usual)


def peak_of_job() -> float:
    """Have the script's job done in a process of its own; return the most memory in MB that it has had."""
    command = [sys.executable, "-W", "ignore", sys.argv[0]]
    env = {**os.environ, "BENCH_JOB": "1"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _databases(only: str | None) -> Iterator[tuple[str, str]]:
    if only != "PostgreSQL":
        yield "SQLite", ""
    if only == "SQLite":
        return
    if servers.postgres_programs() is None:
        print("-- not on PostgreSQL, which is not installed here")
        return
    postgres = servers.Postgres()
    try:
        postgres.start()
        yield "PostgreSQL", postgres.url
    finally:
        postgres.remove()


@contextmanager
def token_endpoint() -> Iterator[str]:
    """Serve one from a process of its own; yield its URL, to which the milliseconds that it takes are to be added."""
    port = servers.free_port()
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "bench._token_endpoint", str(port)], cwd=PROJECT)
    try:
        yield f"http://127.0.0.1:{port}/token/"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _prepare() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def fill(count: int, due: int, *, milliseconds: int = 0) -> None:
    """Have `count` entries, no fewer than before, each of an active user; the first `due` are due for renewal now.

    Only those that are due have tokens of their own: nobody opens the others.
    """
    from django.utils import timezone

    from providers.models import OAuthProvider
    from vault.models import VaultEntry

    provider, _ = OAuthProvider.objects.update_or_create(
        name="bench",
        defaults={
            "display_name": "Bench",
            "authorization_endpoint": "https://bench.example/authorize",
            "token_endpoint": os.environ["BENCH_TOKEN_ENDPOINT"] + str(milliseconds),
            "client_id": "bench",
            "token_endpoint_auth_method": "none",
        },
    )
    now = timezone.now()
    VaultEntry.objects.update(provider_fingerprint=provider.fingerprint(), refresh_due_at=now + timedelta(minutes=45))
    for number in range(VaultEntry.objects.count(), due, AT_ONCE):
        _make(range(number, min(number + AT_ONCE, due)), provider, now)
    _copies(VaultEntry.objects.count(), count)
    first = VaultEntry.objects.order_by("pk").values_list("pk", flat=True)[:due]
    VaultEntry.objects.filter(pk__lte=max(first)).update(
        refresh_due_at=now - timedelta(minutes=1), expires_at=now + timedelta(minutes=9)
    )
    run_sql("ANALYZE")  # as autovacuum would within a minute


def empty() -> None:
    """Leave no entry and no user."""
    run_sql("DELETE FROM vault_vaultentry")
    run_sql("DELETE FROM auth_user")


def _make(numbers: Sequence[int], provider: "OAuthProvider", now: datetime) -> None:
    from django.contrib.auth.models import User

    from vault.models import VaultEntry
    from vault.sealing import seal

    users = User.objects.bulk_create([User(username=f"user-{number}") for number in numbers])
    rows = [
        VaultEntry(
            user_id=user.pk,
            provider_uid=provider.uid,
            provider_fingerprint=provider.fingerprint(),
            connected_at=now,
            expires_at=now + timedelta(minutes=55),
            refresh_due_at=now + timedelta(minutes=45),
        )
        for user in users
    ]
    for row in rows:
        row.access_token, row.refresh_token = seal(row, "access_token", "a" * 40), seal(row, "refresh_token", "r" * 40)
    VaultEntry.objects.bulk_create(rows)


def _copies(have: int, want: int) -> None:
    """Copy the first user and entry until there are `want` of them: in SQL, since the ORM takes minutes."""
    from django.contrib.auth.models import User
    from django.db import connection

    from vault.models import VaultEntry

    if want <= have:
        return
    uid = "gen_random_uuid()" if connection.vendor == "postgresql" else "lower(hex(randomblob(16)))"
    highest = max(model.objects.order_by("-pk").values_list("pk", flat=True)[0] for model in (User, VaultEntry))
    number = f"{max(highest, 1_000_000)} + 1 + series.n"
    for model, changed in (
        (User, {"id": number, "username": "'copy-' || series.n"}),
        (VaultEntry, {"id": number, "user_id": number, "uid": uid}),
    ):
        columns = [field.column for field in model._meta.concrete_fields]
        values = ", ".join(changed.get(column, f"template.{column}") for column in columns)
        first = model.objects.order_by("pk").values_list("pk", flat=True)[0]
        run_sql(  # made of numbers and our own names
            f"WITH RECURSIVE series(n) AS (SELECT {have} UNION ALL SELECT n + 1 FROM series WHERE n < {want - 1}) "  # noqa: S608
            f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) SELECT {values} "
            f"FROM {model._meta.db_table} AS template, series WHERE template.id = {first}"
        )


def run_sql(statement: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_megabytes() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
