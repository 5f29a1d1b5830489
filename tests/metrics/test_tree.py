"""A real `serve` with two web processes: a scrape of either tells of both, and a clean stop keeps every number."""

import http.client
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.aigateway.gateways import environment, serving

REFUSED = 'aigw_consents_total{result="refused"}'


def get(url: str, path: str) -> str:
    """Ask on a connection of its own: whichever process takes it answers."""
    address = urlsplit(url)
    client = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    try:
        client.request("GET", path)
        return client.getresponse().read().decode()
    finally:
        client.close()


def told(url: str) -> float:
    line = next(line for line in get(url, "/metrics").splitlines() if line.startswith(REFUSED))
    return float(line.rpartition(" ")[2])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_every_process_tells_of_the_whole_tree(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    env = environment(tmp_path / "data", TMPDIR=str(tmp_path / "tmp"))
    with serving(tmp_path / "log", "--processes", "2", env=env) as gateway:
        url = gateway.url()
        [folder] = (tmp_path / "tmp").glob("aigateway-metrics-*")
        wait_until(lambda: len(list(folder.glob("*.json"))) == 2)
        for number in range(40):
            get(url, f"/oauth/v1/callback/github?state={number}&code=x")
        wait_until(lambda: {told(url) for _ in range(8)} == {40.0})
        assert gateway.stop() == 0
    assert not folder.exists()
    with sqlite3.connect(tmp_path / "data" / "aigateway.sqlite3") as database:
        kept = database.execute("SELECT sum(value) FROM metrics_tally WHERE name = 'aigw_consents'").fetchone()
    assert kept == (40.0,)
