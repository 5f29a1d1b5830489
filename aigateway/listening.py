"""The address to listen on: taken before anything else is done, so that a busy port is said at once."""

import errno
import ipaddress
import socket
from dataclasses import dataclass

from django.core.management import CommandError

from outbound.urls import is_loopback_host

BACKLOG = 2048


@dataclass(frozen=True)
class Listener:
    """A bound and listening socket, and the URL that reaches it from this machine."""

    socket: socket.socket
    url: str


def listen(host: str, port: int) -> Listener:
    """Listen on `host:port` (port 0: any free one). Raises CommandError that names the option to change."""
    family, address = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Here, not in the children: two sockets may be bound to one port as long as neither listens.
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise CommandError(_reason(exc, host, port)) from exc
    bound: int = listener.getsockname()[1]
    return Listener(listener, url_of(host, bound))


def url_of(host: str, port: int) -> str:
    """Return the plain-http URL that reaches a listening address from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - mapped away, not bound
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether nobody but this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return is_loopback_host(host)


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as exc:
        raise CommandError(f"--host {host}: there is no such address.") from exc
    return family, address


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port} is already in use on {host}. Stop what listens there, or choose another port."
    if error.errno == errno.EACCES:
        return f"--port {port} is reserved for the system's administrator. Choose one from 1024 up."
    return f"--host {host}: cannot listen there ({error.strerror})."
