"""SIGTERM under load (G07): what is under way finishes, streams end as whole ones, and the process ends with 0."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.one_gateway import Running, running

CALLS = 20


@pytest.mark.threat("G07")
def test_calls_finish_and_streams_end_whole(tmp_path: Path) -> None:
    with running(tmp_path) as site, ThreadPoolExecutor(CALLS + 5) as pool:
        listening = [site.listen() for _ in range(5)]
        streams = [stream for _, stream in listening]
        assert all(stream.status == 200 for stream in streams)
        reading = [pool.submit(stream.read) for stream in streams]
        calls = [pool.submit(_answer, site, "slow-2000", n) for n in range(CALLS)]
        deadline = time.monotonic() + 20
        while site.upstream.open < CALLS + 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        started = time.monotonic()
        site.gateway.process.send_signal(signal.SIGTERM)
        # `read` raises IncompleteRead where a stream was cut.
        assert [read.result(timeout=10) for read in reading] == [b"data: hello\n\n"] * 5
        for client, _ in listening:
            client.close()
        answers = [call.result(timeout=20) for call in calls]
        assert [status for status, _ in answers] == [200] * CALLS
        assert [f'"id": {n}' in body for n, (_, body) in enumerate(answers)] == [True] * CALLS
        assert site.gateway.process.wait(timeout=20) == 0
        assert time.monotonic() - started < 15


@pytest.mark.threat("G07")
def test_a_call_that_does_not_finish_is_told(tmp_path: Path) -> None:
    with running(tmp_path) as site, ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(_answer, site, "hang", 7)
        deadline = time.monotonic() + 20
        while not site.upstream.open and time.monotonic() < deadline:
            time.sleep(0.02)
        site.gateway.process.send_signal(signal.SIGTERM)
        status, body = hanging.result(timeout=20)
        assert (status, '"id":7' in body, '"stopping"' in body) == (503, True, True)
        assert site.gateway.process.wait(timeout=20) == 0


def _answer(site: Running, tool: str, id: int) -> tuple[int, str]:
    client, answer = site.post(tool, id=id)
    try:
        return answer.status, answer.read().decode()
    finally:
        client.close()
