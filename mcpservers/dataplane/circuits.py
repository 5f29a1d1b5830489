"""An upstream that fails again and again is left alone for moments: calls to it fail at once, and one at a time tries.

By origin, in this process only. What a caller does cannot open a circuit: no refused credential, no JSON-RPC error, no
hang-up; only what says that nothing useful answers there (no connection, no answer in time, 502, 503, 504).
"""

import logging
import time
from types import TracebackType
from urllib.parse import urlsplit

from mcpservers.dataplane import limits
from mcpservers.dataplane.jsonrpc import Failure, Reason
from outbound.errors import ConnectFailed, InvalidAnswer, TimedOut, TLSFailed

logger = logging.getLogger(__name__)
KEPT = 10_000
FAILURES = (ConnectFailed, TimedOut, InvalidAnswer)
FAILED_DETAILS = frozenset({"timeout", TLSFailed.code, *(error.code for error in FAILURES)})
FAILED_STATUSES = frozenset({502, 503, 504})


class Circuit:
    """What is known of one origin: `failures` in a row and, once there are too many, when to try again."""

    __slots__ = ("failures", "origin", "retry_at")

    def __init__(self, origin: str) -> None:
        self.origin, self.failures, self.retry_at = origin, 0, 0.0

    @property
    def is_open(self) -> bool:
        """Tell whether calls fail at once, but for one that tries."""
        return self.failures >= limits.current().circuit_failures

    def let_through(self) -> None:
        """Let a call pass if the circuit is closed, or as the one that tries. Raises Failure.

        A try that hangs keeps the next one waiting no longer than one that fails.
        """
        if not self.failures or not self.is_open:
            return
        now = time.monotonic()
        if (wait := self.retry_at - now) > 0:
            text = "The MCP server has not answered lately, and is left alone for a moment. Nothing was sent to it."
            raise Failure(
                Reason.UpstreamUnavailable, text, "circuit_open", http_status=503, retry_after_seconds=max(wait, 1.0)
            )
        self.retry_at = now + limits.current().circuit_open_seconds

    def failed(self) -> None:
        """Count a failure; enough of them in a row open the circuit."""
        was_open = self.is_open
        self.failures += 1
        if self.is_open:
            self.retry_at = time.monotonic() + limits.current().circuit_open_seconds
            if not was_open:
                logger.warning("upstream left alone", extra={"upstream": self.origin, "failures": self.failures})

    def answered(self) -> None:
        """Close the circuit: somebody is there."""
        if self.is_open:
            logger.info("upstream answers again", extra={"upstream": self.origin})
        self.failures = 0

    def undecided(self) -> None:
        """Let the next call try: this one ended before it was known what comes of it."""
        self.retry_at = 0.0


_circuits: dict[str, Circuit] = {}
_origins: dict[str, str] = {}


def circuit_of(url: str) -> Circuit:
    """Return the circuit of the origin that `url` is at."""
    origin = _origins.get(url)
    if origin is None:
        if len(_origins) >= KEPT:
            reset()
        parts = urlsplit(url)
        origin = _origins[url] = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"
    found = _circuits.get(origin)
    if found is None:
        found = _circuits[origin] = Circuit(origin)
    return found


def reset() -> None:
    """Forget every circuit."""
    _circuits.clear()
    _origins.clear()


class guarding:
    """Make a request to `url` in the block, unless its circuit is open; `answered` with the status. Raises Failure.

    Of what the block raises, errors of the connection count, and a Failure that names one in its detail.
    """

    __slots__ = ("_circuit", "_is_known")

    def __init__(self, url: str) -> None:
        self._circuit = circuit_of(url)

    def __enter__(self) -> "guarding":
        self._circuit.let_through()
        self._is_known = False
        return self

    def answered(self, status: int) -> None:
        """Say what came: an upstream's own refusal is an answer like any other."""
        self._is_known = True
        if status in FAILED_STATUSES:
            self._circuit.failed()
        elif self._circuit.failures:
            self._circuit.answered()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_known:
            return
        if isinstance(error, FAILURES) or (isinstance(error, Failure) and error.detail in FAILED_DETAILS):
            self._circuit.failed()
        elif self._circuit.is_open:
            self._circuit.undecided()
