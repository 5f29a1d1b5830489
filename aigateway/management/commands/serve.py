"""`manage.py serve`: web, worker and scheduler as one process tree (contract §2)."""

import argparse
import http.client
import os
import shlex
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import Tags
from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError
from django.db import DatabaseError, connections

from aigateway import checks, environment, listening, migrating, starting
from aigateway.celery import SCHEDULER
from aigateway.gate import WAIT_AT, Gate
from aigateway.supervision import ChildEndedError, ProcessTree
from metrics import published

READY_SECONDS = 60
STOP_RESERVE_SECONDS = 5


class Command(BaseCommand):
    """Migrate, start everything, say when it answers, stop everything on Ctrl-C or SIGTERM."""

    # The rest judges code, which cannot change between a release and its start, and loads every page to do so.
    requires_system_checks = [checks.TAG, Tags.security]
    help = "Run the gateway: migrates, starts web, worker and scheduler, and ends them together."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare host, port and the number of web processes."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=_port, default=8000, help="port to listen on, 0 for any (default: 8000)")
        parser.add_argument("--processes", type=_count, default=1, help="number of web processes (default: 1)")

    def handle(self, *args: Any, host: str, port: int, processes: int, **options: Any) -> None:
        """Run until asked to stop (status 0) or until a process of the tree ends by itself (status 1)."""
        with (
            _metrics_folder() as folder,
            closing(Gate()) as gate,
            ProcessTree(grace_seconds=_grace_seconds()) as tree,
        ):
            listener = _listen(host, port)
            base_url = environment.text("AIGW_BASE_URL").rstrip("/") or listener.url
            children = {**_environment(base_url), "AIGW_METRICS_DIR": folder}
            # They load while this process migrates: together that takes half the time.
            _start_web(tree, listener, gate, processes, children)
            if settings.REDIS_URL:
                _start_worker(tree, gate, children)
            self._prepare()
            self._say(f"starting {', '.join(_names(processes))} ...")
            gate.open(processes + 1)
            if settings.REDIS_URL:
                _start_scheduler(tree, children)
            try:
                _wait_until_ready(tree, listener.url)
                self._say(f"ready {listener.url}" + ("" if base_url == listener.url else f" as {base_url}"))
                tree.watch()
            except ChildEndedError as exc:
                raise CommandError(f"{exc}; stopping the others.") from exc

    def _prepare(self) -> None:
        try:
            migrating.migrate(self._say)
            starting.verify()
            if not get_user_model().objects.filter(is_superuser=True, is_active=True).exists():
                self._say(f"there is no superuser yet; make one with:\n  {_superuser_command()}")
        except ImproperlyConfigured as exc:
            raise CommandError(f"refusing to start: {exc}") from exc
        except DatabaseError as exc:
            raise CommandError(f"the database cannot be used: {str(exc).strip()}") from exc
        finally:
            connections.close_all()

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes; write one from 1 to 64")
    return int(text)


def _grace_seconds() -> float:
    # A refresh under way must be allowed to store what it got: a rotated token exists nowhere else.
    return float(settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS) + STOP_RESERVE_SECONDS


def _listen(host: str, port: int) -> listening.Listener:
    if not listening.is_loopback(host) and not environment.text("AIGW_BASE_URL"):
        raise CommandError(
            f"--host {host} can be reached by others: set AIGW_BASE_URL to the public address, "
            "such as https://gateway.example.com."
        )
    return listening.listen(host, port)


def _metrics_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return published.folder_for_children()
    except OSError as exc:
        raise CommandError(f"TMPDIR: no folder can be made there for the metrics ({exc.strerror}).") from exc


def _environment(base_url: str) -> dict[str, str]:
    paths = [str(settings.BASE_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "AIGW_BASE_URL": base_url, "PYTHONPATH": os.pathsep.join(paths)}


def _names(processes: int) -> list[str]:
    web = "web" if processes == 1 else f"{processes} web processes"
    return [web, "worker", "scheduler"] if settings.REDIS_URL else [f"{web} with its own worker and scheduler"]


def _start_web(
    tree: ProcessTree, listener: listening.Listener, gate: Gate, processes: int, environ: dict[str, str]
) -> None:
    descriptor = listener.socket.fileno()
    for number in range(1, processes + 1):
        name = "web" if processes == 1 else f"web {number}"
        command = _python("-m", "aigateway.web", str(descriptor), str(gate.descriptor))
        tree.start(name, command, environ, keep_open=[descriptor, gate.descriptor])
    listener.socket.close()


def _start_worker(tree: ProcessTree, gate: Gate, environ: dict[str, str]) -> None:
    options = ["-P", "threads", "-c", str(settings.AIGW_WORKER_THREADS), "-n", f"serve{os.getpid()}@%h"]
    waiting = {**environ, WAIT_AT: str(gate.descriptor)}
    tree.start("worker", [*_celery("worker"), *options], waiting, keep_open=[gate.descriptor])


def _start_scheduler(tree: ProcessTree, environ: dict[str, str]) -> None:
    tree.start("scheduler", [*_celery("beat"), "-S", SCHEDULER, "--pidfile="], environ)


def _celery(command: str) -> list[str]:
    return _python("-m", "celery", "-A", "aigateway", "--quiet", command, "-l", settings.LOG_LEVEL)


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _wait_until_ready(tree: ProcessTree, url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(url):
        tree.check()
        if time.monotonic() > deadline:
            raise CommandError(f"the gateway does not answer after {READY_SECONDS} seconds; see the log above.")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    address = urlsplit(url)
    client = http.client.HTTPConnection(address.hostname or "", address.port, timeout=2)
    try:
        client.request("GET", "/readyz")
        return client.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        client.close()


def _superuser_command() -> str:
    words = [_short(sys.executable), _short(settings.BASE_DIR / "manage.py"), "createsuperuser"]
    if settings.EMBEDDED and settings.AIGW_DATA_DIR != settings.BASE_DIR / "data":
        return f"AIGW_DATA_DIR={shlex.quote(str(settings.AIGW_DATA_DIR))} {shlex.join(words)}"
    return shlex.join(words)


def _short(path: str | Path) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)
