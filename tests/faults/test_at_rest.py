"""No credential lies anywhere in production, on PostgreSQL and Redis: a whole flow, then a search (C01, H01).

About 30 s. `tests/test_canaries.py` does the same with the embedded gateway.
"""

import base64
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from redis import Redis

from aigateway.demo.farside import start_far_side
from aigateway.demo.processes import ProcessTree, free_port
from tests.aigateway import gateways
from tests.fakes.mail_server import Mailbox, mail_server
from tests.fakes.recording_proxy import RecordingProxy, recording_proxy
from tests.faults import processes
from tests.faults.servers import Postgres, RedisServer
from tests.faults.site import wait_until
from tests.test_canaries import PASSWORD, Walk, Witness, _spoil

pytestmark = pytest.mark.service(own_servers=True)

ADDRESS = "admin@example.com"
TOKEN_SECONDS = 3
PLACES = ("pg_dump", "data files and write-ahead log", "Redis while messages wait", "Redis afterwards", "logs")
PLACES += ("process arguments and environment", "task arguments", "metrics", "mail", "data folder")


@dataclass
class Found:
    """What was found where, and what may be in none of these places."""

    places: dict[str, bytes] = field(default_factory=dict, repr=False)
    canaries: dict[str, list[str]] = field(default_factory=dict, repr=False)


@dataclass
class Production:
    """The parts that keep something."""

    postgres: Postgres
    redis: RedisServer
    mailbox: Mailbox
    gateway: gateways.Gateway
    database: str
    env: dict[str, str]
    folder: Path

    def worker(self) -> list[int]:
        """Return the process ids of the worker."""
        return [pid for pid in self.family() if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def family(self) -> list[int]:
        """Return the process ids of all parts."""
        return processes.family(self.gateway.process.pid)

    def processes(self) -> bytes:
        """Return what any user of the machine, or its owner, is told of them."""
        files = [Path(f"/proc/{pid}/{what}") for pid in self.family() for what in ("cmdline", "environ")]
        return b"\n".join(file.read_bytes() for file in files)


@pytest.fixture(scope="module")
def found(machines: tuple[Postgres, RedisServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    folder, port = tmp_path_factory.mktemp("at-rest"), free_port()
    url, keys = f"http://127.0.0.1:{port}", {name: secrets.token_urlsafe(32) for name in gateways.KEYS}
    for name, key in keys.items():
        (folder / name).write_text(key)
    postgres, redis = machines
    database = postgres.make_database("at-rest")
    redirect_uri = f"{url}/oauth/v1/callback/demo"
    with ProcessTree(folder / "far-logs", say=lambda line: None) as tree, mail_server() as mailbox:
        far = start_far_side(tree, folder / "farside", redirect_uris=[redirect_uri], access_token_seconds=TOKEN_SECONDS)
        with recording_proxy(far.issuer) as proxy:
            env = gateways.environment(
                folder / "data",
                **{f"{name}_FILE": str(folder / name) for name in keys},
                DATABASE_URL=database,
                REDIS_URL=redis.url,
                DJANGO_SETTINGS_MODULE="tests.canary_settings",
                CANARY_TASKS=str(folder / "tasks"),
                AIGW_LOG_LEVEL="DEBUG",
                AIGW_BASE_URL=url,
                AIGW_OUTBOUND_ALLOW=",".join(urlsplit(each).netloc for each in (far.issuer, far.mcp_url, proxy.base)),
                AIGW_OUTBOUND_CA_BUNDLE=str(far.ca_bundle),
                VAULT_SCAN_INTERVAL_SECONDS="1",
                EMAIL_URL=mailbox.url,
                AIGW_EMAIL_FROM="gateway@example.com",
            )
            with gateways.serving(folder / "log", "--port", str(port), env=env) as gateway:
                gateway.url()
                production = Production(postgres, redis, mailbox, gateway, database, env, folder)
                with Witness(url, far.issuer) as browser:
                    token = _admin(env)
                    yield _walked(production, Walk(url, token, browser, proxy, far), keys)


def _admin(env: dict[str, str]) -> str:
    password = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    arguments = ["createsuperuser", "--noinput", "--username", "admin", "--email", ADDRESS]
    gateways.manage(*arguments, env={**env, **password})
    return gateways.manage("create_token", "admin", env=env).stdout.splitlines()[-1]


def _walked(production: Production, walk: Walk, keys: dict[str, str]) -> Found:
    found, cookies = Found(), []
    walk.register()
    walk.browser.open(f"{walk.url}/connections/")
    walk.browser.sign_in("admin", PASSWORD)
    cookies.append(_cookie(walk))
    walk.consent()
    assert walk.call()["result"]["content"][0]["text"] == "alice"
    _wait_for_refresh(walk.proxy, lambda: None)  # by the worker: nobody calls
    worker = production.worker()
    assert worker
    time.sleep(0.5)  # until it has written, and well before it renews again
    processes.send(signal.SIGSTOP, *worker)
    try:
        _wait_for_refresh(walk.proxy, walk.call)  # by a call: the worker cannot
        _end_connection(walk)
        assert not production.redis.is_idle(), "messages wait"
        found.places["process arguments and environment"] = production.processes()
        found.places["Redis while messages wait"] = "\n".join(production.redis.everything()).encode()
    finally:
        processes.send(signal.SIGCONT, *worker)
    wait_until(lambda: production.mailbox.to(ADDRESS), 20, "the mail has come")
    walk.consent()
    found.places["pg_dump"] = production.postgres.dump(production.database)
    _fail_to_renew(walk)
    walk.api("DELETE", "/api/v1/connections/demo/")
    _spoil(walk)
    walk.browser.open(f"{walk.url}/metrics")
    found.places["metrics"] = walk.browser.heard[-1].encode()
    cookies.append(_cookie(walk))
    found.places["data files and write-ahead log"] = production.postgres.files(production.database)
    found.places["Redis afterwards"] = "\n".join(production.redis.everything()).encode()
    found.places["logs"] = (production.folder / "log").read_bytes()
    found.places["task arguments"] = (production.folder / "tasks").read_bytes()
    found.places["mail"] = "\n".join(production.mailbox.mails).encode()
    found.places["data folder"] = b"\n".join(
        path.read_bytes() for path in (production.folder / "data").rglob("*") if path.is_file()
    )
    found.canaries = _canaries(walk, cookies, keys)
    return found


def _wait_for_refresh(proxy: RecordingProxy, meanwhile: Callable[[], object]) -> None:
    def answered() -> int:
        return [name for name, _ in proxy.answered].count("refresh_token")

    before, deadline = answered(), time.monotonic() + 20
    while answered() == before:
        assert time.monotonic() < deadline, "nothing was refreshed"
        time.sleep(0.05)
        meanwhile()


def _end_connection(walk: Walk) -> None:
    """Let a call find out that the provider has ended the connection."""
    walk.proxy.instead += [(400, b'{"error": "invalid_grant", "error_description": "canary-in-a-refusal"}')]
    _wait_until_answered(walk)


def _fail_to_renew(walk: Walk) -> None:
    """Have the provider fail once, in words of its own."""
    walk.proxy.instead += [(503, b"canary-in-a-failure")]
    _wait_until_answered(walk)


def _wait_until_answered(walk: Walk) -> None:
    answers: list[str] = []
    wait_until(
        lambda: answers.append(str(walk.call())) or not walk.proxy.instead,
        20,
        "the provider was asked",
        lambda: answers[-2:],
    )


def _cookie(walk: Walk) -> str:
    return str(walk.browser._http.cookies.get("aigw_session"))


def _canaries(walk: Walk, cookies: list[str], keys: dict[str, str]) -> dict[str, list[str]]:
    proxy, far = walk.proxy, walk.far
    return {
        "access token": [*proxy.values("access_token"), *proxy.values("token"), "canary-in-a-body"],
        "refresh token": [*proxy.values("refresh_token"), "canary-in-a-refusal", "canary-in-a-failure"],
        "client secret": [far.client_secret],
        "code": [*proxy.values("code"), *walk.sent("code")],
        "code verifier": proxy.values("code_verifier"),
        "state": walk.sent("state"),
        "ticket": walk.sent("ticket"),
        "session cookie": cookies,
        "API token": [walk.token],
        "encryption key": [keys["FERNET_KEYS"]],
        "signing key": [keys["SECRET_KEY"]],
        "password": [PASSWORD, far.passwords["alice"]],
    }


def spellings(value: str) -> set[bytes]:
    """Return a credential as it is, in a URL, in hexadecimal, and in base64 wherever it begins there."""
    raw, found = value.encode(), {value, quote(value, safe=""), value.encode().hex()}
    for before in range(3):
        # What surrounds it decides on the first and the last characters: those are left out.
        inner = base64.b64encode(bytes(before) + raw).decode()[4 if before else 0 :].rstrip("=")[:-1]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {spelling.encode() for spelling in found}


def leaks(found: Found, place: str) -> list[str]:
    """Name the credentials that are readable in a place."""
    content = found.places[place]
    return [
        name
        for name, values in found.canaries.items()
        if any(spelling in content for value in set(values) for spelling in spellings(value))
    ]


@pytest.mark.threat("C01", "H01", "H02", "H03")
@pytest.mark.parametrize("place", PLACES)
def test_no_credential_is_readable_in(found: Found, place: str) -> None:
    assert len(found.places[place]) > 50 or place == "data folder", "nothing was looked at"
    assert leaks(found, place) == [], f"in {place}"


@pytest.mark.threat("C01")
def test_every_canary_flew_and_every_place_holds_what_it_should(found: Found) -> None:
    missing = [name for name, values in found.canaries.items() if not values or not all(map(len, values))]
    assert missing == []
    assert len(set(found.canaries["refresh token"])) > 2
    assert len(set(found.canaries["session cookie"])) > 0
    for place, expected in {
        "pg_dump": b"connection.ended",
        "data files and write-ahead log": b"CANARY_SECRET",
        "Redis while messages wait": b"connections.tasks.tell_user",
        "logs": b'"level": "debug"',
        "process arguments and environment": b"FERNET_KEYS_FILE",
        "task arguments": b"tell_user",
        "metrics": b"aigw_refreshes_total",
        "mail": b"Reconnect",
    }.items():
        assert expected in found.places[place], place


@pytest.mark.threat("C01")
@pytest.mark.parametrize("place", ["a table", "a message", "a URL"])
def test_a_planted_credential_is_found(
    machines: tuple[Postgres, RedisServer], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    canary = f"planted/{secrets.token_urlsafe(24)}+"
    found = Found({place: _planted(machines, place, canary)}, {"token": [canary]})
    assert leaks(found, place) == ["token"]


def _planted(machines: tuple[Postgres, RedisServer], place: str, canary: str) -> bytes:
    postgres, redis = machines
    if place == "a URL":
        return f"GET /callback?code={quote(canary, safe='')} HTTP/1.1".encode()
    if place == "a message":
        body = base64.b64encode(f'[["{canary}"], {{}}, {{}}]'.encode()).decode()
        with Redis.from_url(redis.url) as client:
            client.lpush("planted", f'{{"body": "{body}", "headers": {{}}}}')
            everything = redis.everything()
            client.delete("planted")
        return "\n".join(everything).encode()
    url = postgres.make_database(f"planted-{secrets.token_hex(4)}")
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE planted (value bytea)")
        connection.execute("INSERT INTO planted VALUES (%s)", [canary.encode()])
    dumped, files = postgres.dump(url), postgres.files(url)
    assert canary.encode() in files
    return dumped
