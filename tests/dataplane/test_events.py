"""Events are found wherever the pieces of a stream are cut, and nothing of them is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpservers.dataplane import events

STREAM = st.lists(
    st.sampled_from(
        [b"data: x", b"data", b"id: 1", b": c", b"\n", b"\r\n", b"\r", b"a", b"\n\n", b"\r\n\r\n", b"\r\r"]
    ),
    max_size=30,
).map(b"".join)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def split(pieces: list[bytes]) -> list[bytes]:
    splitter = events.Splitter(10_000)
    return [event for piece in pieces for event in splitter.feed(piece)] + [splitter.rest()]


def messages(found: list[bytes]) -> list[bytes]:
    return [data for event in found if (data := events.data_of(event))]


@given(STREAM, st.lists(st.integers(min_value=0, max_value=1000), max_size=10))
def test_cuts_change_nothing(stream: bytes, places: list[int]) -> None:
    in_pieces, at_once = split(cut(stream, places)), split([stream])
    assert b"".join(in_pieces) == b"".join(at_once) == stream
    assert messages(in_pieces) == messages(at_once)


@given(STREAM)
def test_an_event_never_holds_two(stream: bytes) -> None:
    for event in split([stream]):
        plain = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert b"\n\n" not in plain.strip(b"\n")


def test_an_event_is_read_and_written_as_the_standard_says() -> None:
    event = b"id: 1\r\ndata: {\r\ndata:}\r\ndatax: no\r\nretry: 5\r\n\r\n"
    assert events.data_of(event) == b"{\n}"
    assert events.with_data(event, b"[]") == b"id: 1\r\ndata: []\r\ndatax: no\r\nretry: 5\r\n\r\n"
    assert events.data_of(b"\xef\xbb\xbfdata: x\n\n") == b"x"
    assert events.data_of(b"data\n\n") == b""


def test_an_event_that_never_ends_is_given_up() -> None:
    splitter = events.Splitter(100)
    with pytest.raises(events.TooLong):
        splitter.feed(b"data: " + b"x" * 100)
