"""Hold children back: they load what they run while their parent prepares what they need, and begin at its word."""

import os
import sys

# Tells a worker, whose arguments are Celery's, which descriptor to pass through.
WAIT_AT = "AIGW_WAIT_AT"


class Gate:
    """The parent's end; children inherit `descriptor`, and nobody inherits the end that opens."""

    def __init__(self) -> None:
        self.descriptor, self._word = os.pipe()
        self._is_open = True

    def open(self, count: int) -> None:
        """Let `count` children through; one that is gone already does no harm."""
        os.write(self._word, b"." * count)

    def close(self) -> None:
        """Have the children that still wait end."""
        if self._is_open:
            self._is_open = False
            os.close(self._word)
            os.close(self.descriptor)


def pass_through(descriptor: int) -> None:
    """Wait for the parent's word. Ends the process, with status 0, when the parent ends without giving it."""
    with open(descriptor, "rb", buffering=0) as gate:
        if not gate.read(1):
            sys.exit(0)
