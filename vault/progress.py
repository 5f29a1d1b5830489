"""How far a long command has come: a bar on a terminal, a line now and then anywhere else."""

import time

from django.core.management.base import OutputWrapper

WIDTH = 24
BAR_SECONDS, LINE_SECONDS = 0.2, 10.0


class Progress:
    """Call it with what is being done, how much of it is done, and how much there is to do."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out
        self._began = time.monotonic()
        self._told = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say it, unless something was said a moment ago; the end of each is always said."""
        now, is_end, is_terminal = time.monotonic(), done >= total, self._out.isatty()
        if not is_end and now - self._told < (BAR_SECONDS if is_terminal else LINE_SECONDS):
            return
        rate = done / max(now - self._began, 0.001)
        text = f"{what}: {done:,} of {total:,} rows, {rate:,.0f} a second"
        if not is_end:
            text += f", {(total - done) / rate:,.0f} s left"
        self._out.write(f"\r{_bar(done, total)} {text}\x1b[K" if is_terminal else text, ending="")
        if is_end or not is_terminal:
            self._out.write("")
        self._out.flush()
        self._told = now
        if is_end:
            self._began = now


def _bar(done: int, total: int) -> str:
    filled = WIDTH * done // total
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}]"
