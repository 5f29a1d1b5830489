"""`manage.py serve` from outside: a real process, its children, its port and its end."""

import http.client
import json
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.aigateway import gateways
from tests.aigateway.gateways import environment, manage, serving


def get(url: str, path: str) -> tuple[int, bytes]:
    """Make one request by address, as a load balancer does."""
    address = urlsplit(url)
    client = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    try:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, response.read()
    finally:
        client.close()


def test_it_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    with serving(tmp_path / "log", env=environment(tmp_path / "data")) as gateway:
        url = gateway.url()
        assert get(url, "/healthz") == (200, b'{"status": "ok"}')
        status, ready = get(url, "/readyz")
        assert (status, json.loads(ready)) == (200, {"status": "ok", "database": "ok", "broker": "embedded"})
        assert get(url, "/no-such-page")[0] == 404, "AIGW_BASE_URL follows the port"
        assert get(url, "/mcp/v1/none")[0] == 401
        assert "manage.py createsuperuser" in gateway.output
        children = gateway.children()
        started = time.monotonic()
        assert gateway.stop() == 0
        assert time.monotonic() - started < 10
        assert children
        assert not any(_is_running(child) for child in children)
    assert "Traceback" not in gateway.output


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    with serving(tmp_path / "log", env=environment(tmp_path / "data")) as gateway:
        gateway.url()
        assert gateway.stop(signal.SIGINT) == 0
    assert "Traceback" not in gateway.output


def test_a_child_that_dies_ends_the_tree_and_is_named(tmp_path: Path) -> None:
    with serving(tmp_path / "log", "--processes", "2", env=environment(tmp_path / "data")) as gateway:
        gateway.url()
        first, second = gateway.children()
        os.kill(first, signal.SIGKILL)
        assert gateway.process.wait(timeout=30) == 1
        assert not _is_running(second)
    assert "web 1 ended by signal SIGKILL" in gateway.output


def test_children_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "log", env=environment(tmp_path / "data")) as gateway:
        gateway.url()
        (child,) = gateway.children()
        gateway.process.kill()
        deadline = time.monotonic() + 15
        while _is_running(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _is_running(child)


def test_the_second_start_keeps_the_keys_and_makes_no_noise(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    for _ in range(2):
        with serving(tmp_path / "log", env=env) as gateway:
            gateway.url()
            key = (tmp_path / "data" / "fernet_key").read_text()
            assert gateway.stop() == 0
    assert "database is up to date" in gateway.output
    assert (tmp_path / "data" / "fernet_key").read_text() == key


@pytest.mark.threat("C04")
def test_it_refuses_keys_that_are_not_this_databases(tmp_path: Path) -> None:
    with serving(tmp_path / "log", env=environment(tmp_path / "data")) as gateway:
        gateway.url()
        gateway.stop()
    done = manage("serve", "--port", "0", env=environment(tmp_path / "data", FERNET_KEYS=gateways.KEYS["FERNET_KEYS"]))
    assert done.returncode == 1
    assert "FERNET_KEYS does not open this database's vault" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ready http" not in done.stdout


@pytest.mark.threat("G09")
def test_two_that_start_at_once_both_serve(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    with serving(tmp_path / "one", env=env) as one, serving(tmp_path / "two", env=env) as two:
        assert get(one.url(), "/readyz")[0] == get(two.url(), "/readyz")[0] == 200
        assert (one.output + two.output).count("database is migrated") == 1
        assert (one.stop(), two.stop()) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "http"], "'http' is no port"),
        (["--port", "65536"], "'65536' is no port"),
        (["--processes", "0"], "'0' is no number of processes"),
        (["--host", "no.such.host.invalid"], "set AIGW_BASE_URL"),
        (["--host", "0.0.0.0"], "set AIGW_BASE_URL"),  # noqa: S104 - refused
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = manage("serve", "--port", "0", *arguments, env=environment(tmp_path / "data"))
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "aigateway.sqlite3").exists(), "nothing is begun"


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        done = manage("serve", "--port", port, env=environment(tmp_path / "data"))
    assert done.returncode == 1
    assert f"--port {port} is already in use" in done.stderr


def test_a_database_that_does_not_answer_is_said_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://someone:pass-word-canary@127.0.0.1:1/none"
    done = manage("serve", "--port", "0", env=environment(tmp_path, DATABASE_URL=url, **gateways.KEYS))
    assert done.returncode == 1
    assert "the database cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert "canary" not in done.stderr + done.stdout


@pytest.fixture
def production(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a gateway on PostgreSQL and Redis, with a database of its own."""
    server, redis = os.environ["TEST_DATABASE_URL"], os.environ["TEST_REDIS_URL"]
    name = f"aigw_serve_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    try:
        yield environment(
            tmp_path / "unused",
            DATABASE_URL=url,
            REDIS_URL=urlsplit(redis)._replace(path="/7").geturl(),
            **gateways.KEYS,
        )
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')  # type: ignore[call-overload]


@pytest.mark.service
@pytest.mark.threat("G09")
def test_on_postgresql_and_redis_two_start_at_once(tmp_path: Path, production: dict[str, str]) -> None:
    with (
        serving(tmp_path / "one", "--processes", "2", env=production) as one,
        serving(tmp_path / "two", env=production) as two,
    ):
        status, ready = get(one.url(), "/readyz")
        assert (status, json.loads(ready)["broker"]) == (200, "ok")
        assert get(two.url(), "/readyz")[0] == 200
        assert len(one.children()) == 4, "two web processes, worker and scheduler"
        assert (one.output + two.output).count("database is migrated") == 1
        assert (one.stop(), two.stop()) == (0, 0)
    assert not (tmp_path / "unused").exists(), "with a DATABASE_URL nothing is kept in the data folder"


@pytest.mark.service
@pytest.mark.threat("C04")
def test_a_worker_refuses_keys_that_are_not_this_databases(tmp_path: Path, production: dict[str, str]) -> None:
    assert manage("migrate", env=production).returncode == 0
    with serving(tmp_path / "log", env=production) as gateway:
        gateway.url()
        gateway.stop()
    wrong = {**production, "FERNET_KEYS": "another-" + gateways.KEYS["FERNET_KEYS"]}
    done = gateways.worker(env=wrong)
    assert done.returncode != 0
    assert "FERNET_KEYS does not open this database's vault" in done.stderr


@pytest.mark.service
def test_a_worker_refuses_a_database_that_was_never_migrated(production: dict[str, str]) -> None:
    done = gateways.worker(env=production)
    assert done.returncode != 0
    assert "Run `manage.py migrate` first" in done.stderr
    assert "Traceback" not in done.stderr


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
