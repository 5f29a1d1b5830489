"""What the data plane costs, beside nginx that only injects a header: the goals of docs/performance.md.

The system under test is pinned to one core; wrk and the upstreams share another. In every round nginx is measured
within the same minute as the gateway. `waited` is the part of the time in which the tested process had to wait for its
core: where it is not near zero, other work was in the way, calls per second and latency mean little, and the least CPU
of all rounds is the figure that was disturbed least.

    python bench/dataplane.py [--full] [--flame FILE] [--only calls,stream,memory,streams,processes]

`--full` is 5 rounds of 5 seconds, 200,000 calls and streams of a minute; without it, all of it takes two minutes.
"""

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from bench import _gateway, _machines, _reading
from bench._gateway import Gateway
from bench._machines import Load

CONNECTIONS = (1, 16, 64)
PARTS = ("calls", "stream", "memory", "streams", "processes")


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    rounds: int
    seconds: int
    calls: int
    streams: int
    events: int


SHORT, FULL = Size(3, 2, 40_000, 500, 10), Size(5, 5, 200_000, 500, 60)


@dataclass(frozen=True)
class System:
    """Something that takes calls: its name, its address, its processes."""

    name: str
    url: str
    pids: list[int]
    idle_share: float = 0.0


@dataclass(frozen=True)
class Run:
    """One run of the load against one system."""

    load: Load
    micros: float
    waited: float

    @classmethod
    def of(cls, system: System, token: str, connections: int, seconds: int) -> "Run":
        """Drive load at a system; measure the processor time that it used for each call."""
        before, waited = _machines.cpu_seconds(system.pids), _machines.waited_seconds(system.pids)
        load = _machines.wrk(system.url, token, connections=connections, seconds=seconds)
        used = _machines.cpu_seconds(system.pids) - before - system.idle_share * load.seconds
        waited = (_machines.waited_seconds(system.pids) - waited) / load.seconds / len(system.pids)
        return cls(load, used / load.calls * 1e6, waited)


def calls(nginx: System, gateway: Gateway, size: Size) -> None:
    """Print calls per second, CPU per call and latency at 1, 16 and 64 connections."""
    # What the scheduler and the worker inside the web process use is no part of a call.
    idle = _machines.idle_share(gateway.pids)
    print(f"idle, the gateway uses {idle:.1%} of a core (subtracted below)")
    modes = [System(name, gateway.server(name), gateway.pids, idle) for name in ("static-key", "user-oauth")]
    print(
        f"{'connections':<12}{'system':<13}{'calls/s':>9}{'spread':>8}{'x nginx':>9}{'CPU us':>8}{'least':>7}"
        f"{'x nginx':>9}{'median ms':>11}{'p99 ms':>8}{'waited':>8}"
    )
    for connections in CONNECTIONS:
        runs: dict[str, list[Run]] = {system.name: [] for system in (nginx, *modes)}
        for system in (nginx, *modes):
            Run.of(system, gateway.token, connections, 1)
        for _ in range(size.rounds):
            for system in (nginx, *modes):
                runs[system.name].append(Run.of(system, gateway.token, connections, size.seconds))
        for name, row in runs.items():
            _print_row(connections, name, row, runs["nginx"])


def _print_row(connections: int, name: str, runs: list[Run], nginx: list[Run]) -> None:
    rates, micros = [run.load.rate for run in runs], [run.micros for run in runs]
    ratio = statistics.median(run.load.rate / other.load.rate for run, other in zip(runs, nginx, strict=True))
    cpu_ratio = statistics.median(other.micros / run.micros for run, other in zip(runs, nginx, strict=True))
    median = statistics.median(run.load.median for run in runs)
    p99 = statistics.median(run.load.p99 for run in runs)
    print(
        f"{connections:<12}{name:<13}{statistics.median(rates):>9,.0f}{_spread(rates):>8}{ratio:>9.2f}"
        f"{statistics.median(micros):>8.0f}{min(micros):>7.0f}{cpu_ratio:>9.2f}{median:>11.3f}{p99:>8.2f}"
        f"{statistics.median(run.waited for run in runs):>8.0%}",
        flush=True,
    )


def _spread(values: list[float]) -> str:
    return f"±{(max(values) - min(values)) / 2 / statistics.median(values):.0%}"


def stream(nginx: System, direct: System, gateway: Gateway, size: Size) -> None:
    """Print how long an event takes from the upstream to the caller."""
    times: dict[str, list[float]] = {}
    for name, url in (("direct", direct.url), ("nginx", nginx.url), ("gateway", gateway.server("stream"))):
        times[name] = asyncio.run(_reading.first_events(url, gateway.token, 60 * size.rounds))
        print(f"{name:<10} first event after {statistics.median(times[name]):.2f} ms, p95 {_p95(times[name]):.2f} ms")
    added = statistics.median(times["gateway"]) - statistics.median(times["direct"])
    print(f"added by the gateway: {added:.2f} ms (goal: at most 2)", flush=True)


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[18]


def memory(gateway: Gateway, size: Size) -> None:
    """Print how much memory grows over many calls."""
    url, quarter = gateway.server("user-oauth"), size.calls // 4
    done, seen = 0, []
    while done < size.calls:
        done += _machines.wrk(url, gateway.token, connections=16, seconds=1).calls
        if len(seen) <= done // quarter:
            seen.append(_machines.megabytes(gateway.pids))
    said = ", ".join(f"{value:.1f}" for value in seen)
    print(f"RSS over {done:,} calls, MB: {said}; growth after the first quarter {seen[-1] - seen[0]:+.1f}", flush=True)


def streams(gateway: Gateway, size: Size) -> None:
    """Print what many streams at once need, and whether every event came, in order."""
    files = _machines.open_files(gateway.pids)
    held: list[float] = []
    events, wrong = asyncio.run(
        _reading.many_streams(
            gateway.server("long-stream"),
            gateway.token,
            size.streams,
            lambda: held.append(_machines.megabytes(gateway.pids)),
        )
    )
    expected = size.streams * size.events
    print(
        f"{size.streams} streams of {size.events} s: {events:,} of {expected:,} events, {wrong} out of order, ", end=""
    )
    print(f"RSS {max(held):.0f} MB (goal: under 1000), open files {files} before, ", end="")
    print(f"{_machines.open_files(gateway.pids)} after", flush=True)


def processes(fixed: int, streaming: int, size: Size) -> None:
    """Print what a second web process adds, when wrk and the upstream have to share the two cores with them."""
    found: dict[int, list[Run]] = {}
    for count in (1, 2):
        with _gateway.running(fixed, streaming, processes=count, cores=_machines.CORES) as gateway:
            system = System("gateway", gateway.server("user-oauth"), gateway.pids)
            Run.of(system, gateway.token, 64, 1)
            found[count] = [Run.of(system, gateway.token, 64, size.seconds) for _ in range(size.rounds)]
    rate = {count: statistics.median(run.load.rate for run in runs) for count, runs in found.items()}
    micros = {count: statistics.median(run.micros for run in runs) for count, runs in found.items()}
    print(
        f"one process {rate[1]:,.0f} calls/s at {micros[1]:.0f} us, two {rate[2]:,.0f} at {micros[2]:.0f} us: ", end=""
    )
    print(f"x {rate[2] / rate[1]:.2f} with wrk and the upstream on the same cores; ", end="")
    print(f"by CPU alone x {2 * micros[1] / micros[2]:.2f} (goal: 1.7)", flush=True)


def flame(gateway: Gateway, path: str) -> None:
    """Write a flame graph of the gateway under load."""
    if shutil.which("py-spy") is None:
        print("no flame graph: pip install py-spy")
        return
    command = ["py-spy", "record", "-o", path, "-d", "8", "-r", "500", "-p", str(gateway.pids[0])]
    with _machines.running(command, _machines.OTHERS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
        _machines.wrk(gateway.server("user-oauth"), gateway.token, connections=16, seconds=9)
        spy.wait(timeout=30)
    print(f"flame graph: {path}")


def main() -> None:
    """Start everything and measure what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--flame", default="")
    parser.add_argument("--only", default=",".join(PARTS))
    chosen = parser.parse_args()
    size, only = FULL if chosen.full else SHORT, chosen.only.split(",")
    if lacking := _machines.missing():
        print(f"not run: {' and '.join(lacking)} missing; on Debian and Ubuntu: apt-get install nginx-light wrk")
        return
    with ExitStack() as stack:
        fixed, streaming = stack.enter_context(_machines.upstreams())
        port = _machines.free_port()
        body = _machines.INJECTING.format(fixed=fixed, streams=streaming, port=port, credential=_machines.CREDENTIAL)
        pid = stack.enter_context(_machines.nginx(body, port, _machines.TESTED))
        gateway = stack.enter_context(_gateway.running(fixed, streaming, events=size.events))
        print(f"cold start to ready: {gateway.seconds_to_ready:.1f} s (goal: at most 3)")
        reference = System("nginx", f"http://127.0.0.1:{port}/mcp", [pid])
        parts: dict[str, Callable[[], None]] = {
            "calls": lambda: calls(reference, gateway, size),
            "stream": lambda: stream(
                System("nginx", f"http://127.0.0.1:{port}/stream", [pid]),
                System("direct", f"http://127.0.0.1:{streaming}/stream", []),
                gateway,
                size,
            ),
            "memory": lambda: memory(gateway, size),
            "streams": lambda: streams(gateway, size),
        }
        for name in (name for name in parts if name in only):
            parts[name]()
        if chosen.flame:
            flame(gateway, chosen.flame)
    if "processes" in only:
        with _machines.upstreams() as (fixed, streaming):
            processes(fixed, streaming, size)


if __name__ == "__main__":
    sys.exit(main())
