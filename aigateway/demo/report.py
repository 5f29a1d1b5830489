"""What the demo prints: one readable line a step, and whether everything held."""

import time
from collections.abc import Callable

INDENT = "    "


class DidNotHold(Exception):
    """A step saw something other than it claims; the message says what."""


def expect(holds: object, seen: object) -> None:
    """Raise DidNotHold, with what was seen instead, unless something holds."""
    if not holds:
        raise DidNotHold(str(seen))


class Report:
    """The lines of one walk; `failed` counts the steps that did not hold."""

    def __init__(
        self, write: Callable[[str], object], good: Callable[[str], str] = str, bad: Callable[[str], str] = str
    ) -> None:
        self._write, self._good, self._bad = write, good, bad
        self.taken = 0
        self.failed = 0

    def say(self, line: str = "") -> None:
        """Print a line."""
        self._write(f"{line}\n")

    def step(self, claim: str, check: Callable[[], str]) -> None:
        """Print a tick, the claim and what `check` saw of it; or a cross and what was there instead."""
        self.taken += 1
        try:
            mark, seen = self._good("✓"), check()
        except Exception as error:
            # Whatever happens in a step is its result, and the next one is still worth a look.
            self.failed += 1
            mark, seen = self._bad("✗"), f"NOT SO: {in_words(error)}"
        self.say(f"{mark} {self.taken:2}  {claim}: {seen}")

    def count_down(self, seconds: float, what: str) -> None:
        """Wait, showing the seconds that are left."""
        end = time.monotonic() + seconds
        self._write(f"{INDENT}{what}:")
        while (left := end - time.monotonic()) > 0:
            self._write(f" {left:.0f}")
            time.sleep(min(1, left))
        self._write("\n")


def in_words(error: BaseException) -> str:
    """Say an error in a line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    words = " ".join(str(error).split())[:600]
    return words if isinstance(error, DidNotHold) else f"{type(error).__name__}: {words}"
