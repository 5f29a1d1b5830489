"""A mail server on loopback that keeps what it is sent."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Mailbox:
    """Every mail, as it came; `url` is for EMAIL_URL."""

    def __init__(self) -> None:
        self.url = ""
        self.mails: list[str] = []

    def to(self, address: str) -> list[str]:
        """Return the mails to an address."""
        return [mail for mail in self.mails if f"\nTo: {address}\n" in mail]


class _Handler(socketserver.StreamRequestHandler):
    """Speak as much of RFC 5321 as a client needs."""

    mailbox: Mailbox

    def handle(self) -> None:
        self._say("220 loopback")
        while line := self.rfile.readline().decode():
            verb = line[:4].upper().strip()
            if verb == "DATA":
                self._say("354 go on")
                self._take()
            self._say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def _take(self) -> None:
        lines: list[str] = []
        while (line := self.rfile.readline().decode().replace("\r\n", "\n")) not in {".\n", ""}:
            lines.append(line)
        self.mailbox.mails.append("".join(lines))

    def _say(self, answer: str) -> None:
        self.wfile.write(f"{answer}\r\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """Serve one."""
    mailbox = Mailbox()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"mailbox": mailbox}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    mailbox.url = f"smtp://127.0.0.1:{server.server_address[1]}"
    try:
        yield mailbox
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
