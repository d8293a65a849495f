"""What is done to a server that speaks HTTP/2, and what is read off it."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from benchmarks import procfs
from benchmarks.http2 import echo, h2load
from benchmarks.http2.h2load import Summary
from benchmarks.loads import MIB, Exchange, Plan
from benchmarks.running import HOST, BenchmarkError, Started, pinned

CONNECTIONS: Final = 8
STREAMS: Final = 16  # on each
# Of the warm-up, which tells how many requests fill a measurement.
FIRST_REQUESTS: Final = 2000


class Load(Protocol):
    """One way to measure; the values are named by metric."""

    def measure(self, started: Started, plan: Plan, scheme: str) -> dict[str, float]: ...


@contextlib.contextmanager
def spent(started: Started) -> Iterator[list[float]]:
    """CPU seconds of the server while the block runs, and those that others took of its core."""
    figures: list[float] = []
    started.settle()
    cpu_before, core_before = started.cpu_ns(), procfs.core_busy_s(started.core)
    yield figures
    cpu_after, core_after = started.cpu_ns(), procfs.core_busy_s(started.core)
    used = sum(cpu_after[pid] - cpu_before[pid] for pid in cpu_before) / 1e9
    if not used:
        raise BenchmarkError("the server's processes used no CPU: the wrong ones are watched")
    figures += [used, max(0.0, core_after - core_before - used)]


def run(command: Sequence[str], core: int) -> str:
    """A client on its core, to its end."""
    ended = subprocess.run(
        pinned(command, core), capture_output=True, text=True, timeout=120, check=False
    )
    if ended.returncode:
        raise BenchmarkError(f"{command[0]} ended with status {ended.returncode}: {ended.stderr}")
    return ended.stdout


def prove(url: str, exchange: Exchange, core: int) -> None:
    """Ask once, by another client, and compare: a fast wrong answer is not an answer."""
    with tempfile.NamedTemporaryFile() as answer:
        command = ["curl", "--silent", "--insecure", "--output", answer.name]
        command += ["--write-out", "%{http_version} %{http_code}"]
        command += ["--http2-prior-knowledge"] if url.startswith("http:") else ["--http2"]
        told = run([*command, url], core)
        body = Path(answer.name).read_bytes()
    if told != "2 200" or body != exchange.answer:
        raise BenchmarkError(f"{url} was answered with {told!r} and {len(body)} bytes")


@dataclass(frozen=True, slots=True)
class Small:
    """As many small requests as the server can answer."""

    exchange: Exchange

    def run(self, url: str, plan: Plan, requests: int) -> Summary:
        command = h2load.command(
            url, connections=CONNECTIONS, streams=STREAMS, requests=max(requests, 1000)
        )
        try:
            return h2load.parse(run(command, plan.load_core))
        except h2load.H2loadError as error:
            raise BenchmarkError(str(error)) from error

    def measure(self, started: Started, plan: Plan, scheme: str) -> dict[str, float]:
        url = f"{scheme}://{HOST}:{started.port}{self.exchange.path}"
        prove(url, self.exchange, plan.load_core)
        first = self.run(url, plan, FIRST_REQUESTS)
        with spent(started) as figures:
            number = round(first.requests / first.seconds * plan.seconds)
            summary = self.run(url, plan, number)
        return {
            "cpu_us": figures[0] * 1e6 / summary.requests,
            "rps": summary.requests / summary.seconds,
            "busy": figures[0] / summary.seconds,
            "foreign": figures[1] / summary.seconds,
        }


@dataclass(frozen=True, slots=True)
class Large:
    """A few requests of 100 MiB one way, one after the other on one connection."""

    exchange: Exchange
    upload: bool
    times: int = 3

    def measure(self, started: Started, plan: Plan, scheme: str) -> dict[str, float]:
        url = f"{scheme}://{HOST}:{started.port}{self.exchange.path}"
        with tempfile.NamedTemporaryFile() as body:
            if self.upload:
                body.truncate(self.exchange.body)  # zeros: sparse, and read from the page cache

            def load(times: int) -> Summary:
                sent = Path(body.name) if self.upload else None
                command = h2load.command(url, connections=1, streams=1, requests=times, body=sent)
                try:
                    return h2load.parse(run(command, plan.load_core))
                except h2load.H2loadError as error:
                    raise BenchmarkError(str(error)) from error

            load(1)
            with spent(started) as figures:
                summary = load(self.times)
        return {
            "cpu_ms": figures[0] * 1e3 / self.times,
            "mib_s": self.times
            * max(self.exchange.body, len(self.exchange.answer))
            / MIB
            / summary.seconds,
            "busy": figures[0] / summary.seconds,
            "foreign": figures[1] / summary.seconds,
        }


@dataclass(frozen=True, slots=True)
class Echo:
    """Small messages there and back, on as many WebSockets as there are streams."""

    path: bytes

    def measure(self, started: Started, plan: Plan, scheme: str) -> dict[str, float]:
        try:
            connections = [
                echo.EchoConnection(started.port, self.path, STREAMS) for _ in range(CONNECTIONS)
            ]
            try:
                echo.talk(connections, plan.warmup_s)
                with spent(started) as figures:
                    messages, seconds = echo.talk(connections, plan.seconds)
            finally:
                for each in connections:
                    each.socket.close()
        except echo.EchoError as error:
            raise BenchmarkError(str(error)) from error
        return {
            "cpu_us": figures[0] * 1e6 / messages,
            "rps": messages / seconds,
            "busy": figures[0] / seconds,
            "foreign": figures[1] / seconds,
        }
