"""`manage.py demo`: the whole main job against a real authorization server and a real MCP server (contract §2)."""

import argparse
import sys
import time
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from aigateway.demo.administration import ADMIN, USERNAMES, RefusedError, make_people, register
from aigateway.demo.browser import LostError
from aigateway.demo.farside import start_far_side
from aigateway.demo.folder import FolderError, fresh_folder
from aigateway.demo.gateway import redirect_uri, start_gateway
from aigateway.demo.processes import PROJECT, ChildFailedError, ProcessTree, free_port, is_free
from aigateway.demo.report import Report
from aigateway.demo.walk import Stage, Walk

WATCH_SECONDS = 0.3


class Command(BaseCommand):
    """Start everything, walk, then stay up for a browser; end everything again."""

    help = "Watch the gateway do its job against a real authorization server and a real MCP server, all on loopback."
    requires_system_checks = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare port, folder and whether to end after the walk."""
        parser.add_argument("--exit", action="store_true", help="end after the walk, with status 0 if every step held")
        parser.add_argument("--port", type=_port, default=8000, help="port of the gateway, 0 for any (default: 8000)")
        parser.add_argument(
            "--folder", type=Path, default=PROJECT / "demo-data", help="where everything is kept (default: demo-data)"
        )

    def handle(self, *args: Any, port: int, folder: Path, **options: Any) -> None:
        """Run; status 1 when something did not start or a step did not hold."""
        if isinstance(sys.stdout, TextIOWrapper):
            # Where the terminal's encoding has no tick, a question mark will do.
            sys.stdout.reconfigure(errors="replace")
        report = Report(self._write, good=self.style.SUCCESS, bad=self.style.ERROR)
        try:
            with fresh_folder(folder.absolute()) as fresh, ProcessTree(fresh / "logs", say=report.say) as tree:
                stage = _set_up(tree, fresh, _usable(port, report), report)
                self._walk(stage, report)
                if not options["exit"]:
                    _stay(tree, stage, report)
        except (FolderError, ChildFailedError, RefusedError, LostError) as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            raise CommandError("stopped before the end.", returncode=130) from None
        if report.failed:
            raise CommandError(f"{report.failed} of {report.taken} steps did not hold. Logs: {folder / 'logs'}")

    def _walk(self, stage: Stage, report: Report) -> None:
        report.say()
        started = time.monotonic()
        Walk(stage, report).run()
        report.say()
        if not report.failed:
            report.say(f"Every step held ({report.taken} steps in {time.monotonic() - started:.0f} s).")

    def _write(self, text: str) -> None:
        self.stdout.write(text, ending="")
        self.stdout.flush()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number from 0 to 65535")
    return int(text)


def _usable(port: int, report: Report) -> int:
    if port and is_free(port):
        return port
    other = free_port()
    if port:
        report.say(f"port {port} is in use; the gateway gets {other} instead")
    return other


def _set_up(tree: ProcessTree, folder: Path, port: int, report: Report) -> Stage:
    far_folder = folder / "farside"
    far = start_far_side(tree, far_folder, redirect_uris=[redirect_uri(port)])
    gateway = start_gateway(tree, folder, far, port=port)
    report.say("setting up: an admin, alice and bob, the provider and the server ...")
    people = make_people(gateway)
    register(gateway, far, people[ADMIN])
    return Stage(gateway, far, people, far_folder / "authserver.sqlite3")


def _invite(stage: Stage, report: Report) -> None:
    """Print where everything is, who may sign in, and what to paste."""
    url, alice = stage.gateway.url, stage.people["alice"]
    report.say("\nNow you. Everything stays up until Ctrl-C.\n")
    for label, address in (
        ("Connections", f"{url}/connections/"),
        ("Admin", f"{url}/admin/"),
        ("MCP endpoint", stage.gateway.mcp_url),
        ("Authorization server", f"{stage.far.issuer}/"),
    ):
        report.say(f"  {label:22}{address}")
    report.say(f"\n  {'sign in as':22}{'at the gateway':26}at the authorization server")
    for name in (ADMIN, *USERNAMES):
        report.say(f"  {name:22}{stage.people[name].password:26}{stage.far.passwords.get(name, '-')}")
    report.say("\nAn MCP client's configuration, as alice:\n")
    report.say(
        f'  {{"mcpServers": {{"demo": {{"url": "{stage.gateway.mcp_url}", '
        f'"headers": {{"Authorization": "Bearer {alice.token}"}}}}}}}}'
    )
    report.say("\nThe same call without an MCP client; it answers with a link until alice connects:\n")
    report.say(
        f"  curl -s -X POST -H 'Authorization: Bearer {alice.token}' -H 'Content-Type: application/json' -d '{{}}' \\\n"
        f"    {url}/api/v1/mcp-servers/demo/tools/whoami/call/\n"
    )


def _stay(tree: ProcessTree, stage: Stage, report: Report) -> None:
    """Invite, and wait for Ctrl-C or SIGTERM. Raises ChildFailedError when a server ends by itself."""
    try:
        _invite(stage, report)
        while not (ended := tree.ended()):
            time.sleep(WATCH_SECONDS)
    except (KeyboardInterrupt, SystemExit):
        report.say("\nstopping ...")
        return
    raise ChildFailedError(f"{' and '.join(ended)} ended; see {tree.log_of(ended[0])}")
