"""What the data plane's benchmark runs: nginx, an ASGI upstream, the gateway, and wrk; which core each may use.

The system under test has one core to itself. Load generator and upstreams share another. Where there is only one core,
nothing is pinned and the ratios mean less.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ANSWER = '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"ok"}]}}'
CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}'
TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
TESTED, OTHERS = (CORES[:1], CORES[1:]) if len(CORES) > 1 else (CORES, CORES)
CREDENTIAL = "Bearer upstream-credential-of-the-benchmark"

NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k; default_type application/json;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {body}
}}
"""
FIXED = "server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{answer}'; }} }}"
INJECTING = """
    upstream fixed {{ server 127.0.0.1:{fixed}; keepalive 256; keepalive_requests 1000000000; }}
    upstream streams {{ server 127.0.0.1:{streams}; keepalive 256; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Authorization "{credential}";
        location /mcp {{ proxy_pass http://fixed; }}
        location /stream {{ proxy_pass http://streams; proxy_buffering off; }}
    }}
"""
WRK = """
wrk.method, wrk.body = "POST", '{call}'
wrk.headers["Content-Type"], wrk.headers["Accept"] = "application/json", "application/json, text/event-stream"
wrk.headers["MCP-Protocol-Version"], wrk.headers["Authorization"] = "2025-11-25", "Bearer {token}"
function done(summary, latency)
    local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
    io.write(string.format("measured %d %d %d %d %d %d\\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), failed + summary.errors.timeout, summary.bytes))
end
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw in one run; times in milliseconds."""

    calls: int
    seconds: float
    median: float
    p99: float
    bytes_per_call: float

    @property
    def rate(self) -> float:
        """Return calls per second."""
        return self.calls / self.seconds


def missing() -> list[str]:
    """Return the programs that have to be installed first."""
    return [name for name in ("nginx", "wrk") if shutil.which(name, path=_path()) is None]


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pin(pid: int, cores: list[int]) -> None:
    """Have a process, and every thread and child that it makes from now on, run on these cores only."""
    os.sched_setaffinity(pid, cores)


@contextmanager
def running(command: list[str], cores: list[int], **options: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program on these cores until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        process = subprocess.Popen(command, text=True, cwd=PROJECT, **options)  # type: ignore[call-overload]
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def nginx(body: str, port: int, cores: list[int]) -> Iterator[int]:
    """Run nginx with these servers; yield its process id."""
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder, "nginx.conf")
        conf.write_text(NGINX.format(folder=folder, body=body))
        program = shutil.which("nginx", path=_path()) or "nginx"
        with running([program, "-p", folder, "-c", str(conf), "-e", "stderr"], cores) as process:
            wait_for_port(port)
            yield process.pid


@contextmanager
def upstreams() -> Iterator[tuple[int, int]]:
    """Run the two upstreams; yield the ports of the fixed answer and of the streams."""
    fixed, streams = free_port(), free_port()
    asgi = [sys.executable, "-W", "ignore", "-m", "bench._streams", str(streams)]
    with (
        nginx(FIXED.format(port=fixed, answer=ANSWER), fixed, OTHERS),
        running(asgi, OTHERS),
    ):
        wait_for_port(streams)
        yield fixed, streams


def wait_for_port(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nobody listens on port {port}")


def wrk(url: str, token: str, *, connections: int, seconds: int) -> Load:
    """Drive load for so long and return what it saw. Raises AssertionError when a call failed."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK.format(call=CALL, token=token))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script.name, url]
        with running(command, OTHERS, stdout=subprocess.PIPE) as process:
            said = process.communicate()[0]
    found = re.search(r"measured (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    assert found, said
    calls, micros, median, p99, failed, size = map(int, found.groups())
    assert failed == 0, f"{failed} calls failed\n{said}"
    return Load(calls, micros / 1e6, median / 1000, p99 / 1000, size / max(calls, 1))


def cpu_seconds(pids: list[int]) -> float:
    """Return the processor time that these processes have used."""
    return sum(sum(map(int, _stat(pid)[11:13])) for pid in pids) / TICKS


def waited_seconds(pids: list[int]) -> float:
    """Return how long the main threads of these processes were ready to run and had no core."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) for pid in pids) / 1e9


def idle_share(pids: list[int]) -> float:
    """Return the part of one core that these processes use while nobody calls."""
    before, started = cpu_seconds(pids), time.monotonic()
    time.sleep(3)
    return (cpu_seconds(pids) - before) / (time.monotonic() - started)


def megabytes(pids: list[int]) -> float:
    """Return the memory that these processes hold (RSS)."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files(pids: list[int]) -> int:
    """Return how many file descriptors these processes have open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
