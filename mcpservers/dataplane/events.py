"""Server-sent events in pieces: take them apart at their ends and look into them, byte-exact otherwise (no I/O)."""

import re

_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_LONGEST_END = 4
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TooLong(Exception):
    """An event is longer than is kept."""


class Splitter:
    """Cuts a stream into whole events, wherever the pieces of it are cut."""

    def __init__(self, longest: int) -> None:
        self._longest, self._kept, self._looked_at = longest, bytearray(), 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the events that are complete now, each with its blank line. Raises TooLong."""
        self._kept += piece
        events, start = [], 0
        while end := _END.search(self._kept, max(start, self._looked_at)):
            events.append(bytes(self._kept[start : end.end()]))
            start = self._looked_at = end.end()
        del self._kept[:start]
        self._looked_at = max(0, len(self._kept) - _LONGEST_END)
        if len(self._kept) > self._longest:
            raise TooLong
        return events

    def rest(self) -> bytes:
        """Return what came after the last whole event: a client may read it as one."""
        rest, self._kept = bytes(self._kept), bytearray()
        return rest


def data_of(event: bytes) -> bytes:
    """Return what the event's `data` lines hold, joined."""
    return b"\n".join(_data(line) for line in _lines(event) if _is_data(line))


def with_data(event: bytes, data: bytes) -> bytes:
    """Return the event with `data`, one line of it, in place of its own; every other line as it was."""
    kept, is_written = b"", False
    for line in _lines(event):
        if not _is_data(line):
            kept += line
        elif not is_written:
            kept, is_written = kept + b"data: " + data + (line[len(line.rstrip(b"\r\n")) :] or b"\n"), True
    return kept


def _lines(event: bytes) -> list[bytes]:
    return [line for line in _LINE.findall(event) if line]


def _is_data(line: bytes) -> bool:
    return line.removeprefix(BYTE_ORDER_MARK).rstrip(b"\r\n").partition(b":")[0] == b"data"


def _data(line: bytes) -> bytes:
    return line.rstrip(b"\r\n").partition(b":")[2].removeprefix(b" ")
