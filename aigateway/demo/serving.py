"""Serving one ASGI application as a child process: bound first, one `ready URL` line, a clean end on SIGTERM."""

import argparse
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

SHUTDOWN_GRACE_SECONDS = 2


@dataclass(frozen=True)
class Arguments:
    """Where to serve, and the folder with what the server needs to know."""

    host: str
    port: int
    data_dir: Path


def read_arguments(program: str) -> Arguments:
    """Read `--host` and `--port` from the command line and the folder from `DEMO_DATA_DIR`, or end with status 2."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parsed = parser.parse_args()
    data_dir = os.environ.get("DEMO_DATA_DIR")
    if not data_dir or not Path(data_dir).is_dir():
        parser.error("DEMO_DATA_DIR must name the folder that the demo prepared for this server")
    return Arguments(parsed.host, parsed.port, Path(data_dir))


def bind(host: str, port: int) -> socket.socket:
    """Bind a listening address before anything else, so that port 0 becomes a known port without a race."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def url_of(listener: socket.socket, scheme: str) -> str:
    """Tell the base URL, without a trailing slash, that a bound socket answers at."""
    host, port = listener.getsockname()
    return f"{scheme}://{host}:{port}"


def serve(app: Any, listener: socket.socket, *, ready_url: str, certificate: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then end the process with status 0.

    `certificate` is a PEM file with chain and private key; with it the application is served over TLS.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has shut down: what was asked for is not a failure.
        signal.signal(number, _end)
    config = uvicorn.Config(
        app,
        # Request lines carry codes and states: no access log.
        access_log=False,
        log_level="warning",
        ssl_certfile=certificate,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
        server_header=False,
    )
    _AnnouncingServer(config, ready_url).run(sockets=[listener])


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready_url: str) -> None:
        super().__init__(config)
        self._ready_url = ready_url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            print(f"ready {self._ready_url}", flush=True)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
