"""What the vault's benchmarks share: a gateway's database in a folder of its own, filled by the row.

Each runs once on the embedded SQLite and once on a PostgreSQL that is started for it, where one is installed, in a
process of its own: `main` starts them, `measuring` tells a process that it is one.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults import servers

if TYPE_CHECKING:
    from providers.models import OAuthProvider

PROJECT = Path(__file__).resolve().parent.parent
OLD_KEY, NEW_KEY = "benchmark-key-of-last-year-0123456789", "benchmark-key-of-this-year-0123456789"


def main(script: str, measure: Callable[[], None]) -> None:
    """Run `measure` on each database."""
    if os.environ.get("BENCH_DATABASE"):
        _prepare()
        measure()
        return
    for name, url in _databases():
        print(f"-- on {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder, token_endpoint() as endpoint:
            env = {
                **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
                "PYTHONPATH": str(PROJECT),
                "BENCH_DATABASE": name,
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


def _databases() -> Iterator[tuple[str, str]]:
    yield "SQLite", ""
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
    for number in range(VaultEntry.objects.count(), due):
        _make(number, provider, now)
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


def _make(number: int, provider: "OAuthProvider", now: datetime) -> None:
    from django.contrib.auth.models import User

    from vault import entries

    entries.store(
        user_id=User.objects.create(username=f"user-{number}").pk,
        provider_uid=provider.uid,
        fingerprint=provider.fingerprint(),
        tokens=entries.Tokens("a" * 40, "r" * 40, now + timedelta(minutes=55)),
        scopes_requested=[],
        account="",
        now=now,
    )


def _copies(have: int, want: int) -> None:
    """Copy the first user and entry until there are `want` of them: in SQL, since the ORM takes minutes."""
    from django.contrib.auth.models import User
    from django.db import connection

    from vault.models import VaultEntry

    if want <= have:
        return
    uid = "gen_random_uuid()" if connection.vendor == "postgresql" else "lower(hex(randomblob(16)))"
    number = "1000000 + series.n"
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


def peak_megabytes(*, children: bool = False) -> float:
    """Return the most memory that this process, or any of its children, has had."""
    return resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss / 1024
