"""One web process of `manage.py serve`: uvicorn on a socket that the parent bound.

    python -m aigateway.web DESCRIPTOR GATE

It loads the application while the parent migrates, and serves at the parent's word (`aigateway.gate`).
uvicorn's own `--fd` takes the socket for a Unix one, which costs TCP_NODELAY and the caller's address.
"""

import gc
import signal
import socket
import sys
from types import FrameType

import uvicorn

from aigateway import descriptors, gate
from aigateway.stopping import Server
from aigateway.wire import Protocol

GRACE_SECONDS = 5
# Longer than a load balancer keeps an idle connection, or it may send a call into one that is closing.
KEEP_ALIVE_SECONDS = 75


def main() -> None:
    """Serve until SIGTERM or SIGINT, then end with status 0."""
    # Not to look for garbage in what is being loaded saves a sixth of the time; `asgi` turns it on again.
    gc.disable()
    descriptors.allow_many()
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(
        "aigateway.asgi:application",
        http=Protocol,
        lifespan="on",
        ws="none",
        # Query strings carry codes, states and tickets (H03).
        access_log=False,
        # Logging is Django's, so that every line passes its redaction.
        log_config=None,
        log_level="warning",
        # Whom to believe about the caller's address is decided in clients.addresses.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    config.load()
    gc.collect()
    gc.freeze()
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has shut down: what was asked for is not a failure.
        signal.signal(number, _end)
    gate.pass_through(int(sys.argv[2]))
    Server(config).run(sockets=[listener])


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
