"""What is done to a started server, and what is read off it: each load is one way to measure.

A new kind of client (WebSocket, HTTP/2) is one more class with `measure`; nothing else changes.
"""

from __future__ import annotations

import http.client
import resource
import socket
import subprocess
from dataclasses import dataclass
from typing import Protocol

from benchmarks import procfs, wrk
from benchmarks.running import HOST, BenchmarkError, Started, pinned

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything, and where the load runs."""

    seconds: float
    warmup_s: float
    idle_connections: int
    load_core: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and the answer it must get."""

    path: str
    answer: bytes
    method: str = "GET"
    body: int = 0  # bytes, all of them "x"


class Load(Protocol):
    """One way to measure; the values are named by metric."""

    @property
    def exchange(self) -> Exchange: ...

    def measure(self, started: Started, plan: Plan) -> dict[str, float]: ...


def prove(started: Started, exchange: Exchange) -> None:
    """Ask once and compare: a fast wrong answer is not an answer."""
    connection = http.client.HTTPConnection(HOST, started.port, timeout=30)
    connection.request(exchange.method, exchange.path, body=b"x" * exchange.body or None)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 200 or body != exchange.answer:
        raise BenchmarkError(
            f"{exchange.method} {exchange.path} was answered with {response.status} and "
            f"{len(body)} bytes; it must be 200 and the expected {len(exchange.answer)} bytes"
        )


@dataclass(frozen=True, slots=True)
class Wrk:
    """As many requests as the server can answer, from one wrk thread on the other core."""

    exchange: Exchange
    connections: int = 32
    depth: int = 1  # requests in one write
    different: int = 1  # requests that take turns, a browser's with header fields of its own each

    def run(self, started: Started, plan: Plan, seconds: float) -> wrk.Summary:
        command = wrk.command(
            f"http://{HOST}:{started.port}{self.exchange.path}",
            method=self.exchange.method,
            body=self.exchange.body,
            depth=self.depth,
            different=self.different,
            connections=self.connections,
            seconds=seconds,
        )
        ended = subprocess.run(
            pinned(command, plan.load_core),
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        if ended.returncode:
            raise BenchmarkError(f"wrk ended with status {ended.returncode}: {ended.stderr}")
        try:
            return wrk.parse(ended.stdout)
        except wrk.WrkError as error:
            raise BenchmarkError(str(error)) from error

    def measure(self, started: Started, plan: Plan) -> dict[str, float]:
        self.run(started, plan, plan.warmup_s)
        started.settle()
        cpu_before, core_before = started.cpu_ns(), procfs.core_busy_s(started.core)
        summary = self.run(started, plan, plan.seconds)
        cpu_after, core_after = started.cpu_ns(), procfs.core_busy_s(started.core)
        spent_s = sum(cpu_after[pid] - cpu_before[pid] for pid in cpu_before) / 1e9
        if not spent_s:
            raise BenchmarkError("the server's processes used no CPU: the wrong ones are watched")
        # wrk's clock runs from a write to the last of its answers, and its percentiles assume one
        # request in each: with more they are not latencies of anything.
        latencies = {"p50_us": summary.p50_us, "p99_us": summary.p99_us} if self.depth == 1 else {}
        return {
            "cpu_us": spent_s * 1e6 / summary.requests,
            "rps": summary.requests / summary.seconds,
            **latencies,
            "busy": spent_s / summary.seconds,
            # What others took of the server's core: it makes requests/s and latencies worthless.
            "foreign": max(0.0, core_after - core_before - spent_s) / summary.seconds,
            "pss_mib": procfs.memory_of(started.pids).pss / MIB,
        }


@dataclass(frozen=True, slots=True)
class Resident:
    """Memory of a server that has answered a few requests and now rests."""

    exchange: Exchange

    def measure(self, started: Started, plan: Plan) -> dict[str, float]:
        started.settle()
        before = started.cpu_ns()
        keep_asking(started, self.exchange, times=1000)
        after = started.cpu_ns()
        # The worker is who answered: masters and importers have worked too, but earlier.
        worker = procfs.memory(max(before, key=lambda pid: after[pid] - before[pid]))
        everything = procfs.memory_of(started.pids)
        return {
            "worker_pss_mib": worker.pss / MIB,
            "worker_rss_mib": worker.rss / MIB,
            "tree_pss_mib": everything.pss / MIB,
        }


@dataclass(frozen=True, slots=True)
class Idle:
    """What an open connection costs between two requests: growth of the tree's memory by each."""

    exchange: Exchange

    def measure(self, started: Started, plan: Plan) -> dict[str, float]:
        need_descriptors(plan.idle_connections + 200)
        request = request_bytes(self.exchange, started.port)
        keep_asking(started, self.exchange, times=1000)
        held: list[socket.socket] = []
        try:
            # The first connections pay for what is made once; they are not counted.
            held += [open_and_ask(started.port, request) for _ in range(100)]
            started.settle()
            before = procfs.memory_of(started.pids)
            held += [open_and_ask(started.port, request) for _ in range(plan.idle_connections)]
            started.settle()
            after = procfs.memory_of(started.pids)
            # A server that closed some has spared their memory: ask each of them again.
            for client in held:
                ask(client, request)
        finally:
            for client in held:
                client.close()
        return {
            "idle_pss_kib": (after.pss - before.pss) / plan.idle_connections / 1024,
            "idle_rss_kib": (after.rss - before.rss) / plan.idle_connections / 1024,
        }


def need_descriptors(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        if hard < number:
            raise BenchmarkError(f"{number} open files are needed, the hard limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def request_bytes(exchange: Exchange, port: int) -> bytes:
    return f"{exchange.method} {exchange.path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode()


def ask(client: socket.socket, request: bytes) -> bytes:
    """The body of the answer to one small request; its head must say how long it is."""
    client.sendall(request)
    got = b""
    while b"\r\n\r\n" not in got:
        got += more(client)
    head, _, body = got.partition(b"\r\n\r\n")
    (length,) = (
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += more(client)
    return body


def more(client: socket.socket) -> bytes:
    if data := client.recv(65536):
        return data
    raise BenchmarkError("the server closed a connection that was to be kept")


def open_and_ask(port: int, request: bytes) -> socket.socket:
    client = socket.create_connection((HOST, port), timeout=30)
    ask(client, request)
    return client


def keep_asking(started: Started, exchange: Exchange, *, times: int) -> None:
    request = request_bytes(exchange, started.port)
    with socket.create_connection((HOST, started.port), timeout=30) as client:
        for _ in range(times):
            ask(client, request)
