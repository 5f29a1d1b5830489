"""A network line that can go silent: packets vanish without a word, and connections from before stay dead for good."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 65_536


class Line:
    """Passes on what comes to `port` on loopback, to the port of a server there, until it is `cut`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._is_cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._ends: list[socket.socket] = []
        self._alive: list[threading.Event] = []

    def cut(self) -> None:
        """Let everything vanish from now on: nobody is told."""
        self._is_cut.set()
        for alive in self._alive:
            alive.clear()

    def mend(self) -> None:
        """Pass on what new connections say."""
        self._is_cut.clear()

    def serve(self) -> None:
        """Take connections until `close`."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._ends.append(near)
                if self._is_cut.is_set():
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._ends.append(far)
                alive = threading.Event()
                alive.set()
                self._alive.append(alive)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink, alive), daemon=True).start()

    def close(self) -> None:
        """End it, and every connection through it."""
        for end in [self._listener, *self._ends]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _pass_on(source: socket.socket, sink: socket.socket, alive: threading.Event) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            if alive.is_set():
                sink.sendall(piece)
        if alive.is_set():
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def line_to(target: int) -> Iterator[Line]:
    """Have one."""
    line = Line(target)
    thread = threading.Thread(target=line.serve)
    thread.start()
    try:
        yield line
    finally:
        line.close()
        thread.join()
