"""What is done to a crew that serves, and what is read off it: memory, one kill, one reload."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks import procfs
from benchmarks.loads import MIB, ask, need_descriptors
from benchmarks.processes.answers import Answer, Exchange, Meeting, Replacement
from benchmarks.processes.crews import ROUTES, WORKERS
from benchmarks.running import HOST, ROOT, BenchmarkError

REQUESTS: Final = 300  # of each worker, before its memory is read
PATIENCE_S: Final = 60.0
MEETINGS: Final = 10
BATCH: Final = 8  # connections
BATCHES: Final = 100
SENT: Final = b'"text_0":"a"'


@dataclass(frozen=True, slots=True)
class Crew:
    """A server with its workers, started and accepting."""

    port: int
    master: int
    size: int = WORKERS


@dataclass(frozen=True, slots=True)
class Rate:
    """So many new connections at once, every so often."""

    every_ms: int
    burst: int


# No faster: gunicorn's workers set the queue of the listener to 100, and nobody takes from it while
# they import. Where it overflows, clients wait for the kernel's next try, a second or three later,
# and the reload would seem to take that much longer.
RELOAD_RATE: Final = Rate(every_ms=30, burst=2)
# Finer, for what takes a few milliseconds.
REPLACE_RATE: Final = Rate(every_ms=2, burst=2)


@contextlib.contextmanager
def asking(port: int, rate: Rate) -> Iterator[Iterator[Answer]]:
    """A process that asks until the block ends, and its answers as they come."""
    line = [sys.executable, "-m", "benchmarks.processes.asker"]
    line += [str(port), str(rate.every_ms), str(rate.burst)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield map(Answer.parse, process.stdout)
        finally:
            process.kill()


def hear_out(answers: Iterator[Answer], hear: Callable[[Answer], bool], what: str) -> None:
    """Listen until `hear` says that it is over."""
    give_up_at = time.monotonic() + PATIENCE_S
    for answer in answers:
        if hear(answer):
            return
        if answer.at > give_up_at:
            raise BenchmarkError(f"{what}: not within {PATIENCE_S:.0f} s")
    raise BenchmarkError(f"{what}: the asker ended")


def meet(crew: Crew, answers: Iterator[Answer]) -> tuple[set[int], float]:
    """The pids of all workers, and how long it took to see each of them answer, in seconds."""
    begun = time.monotonic()
    meeting = Meeting(crew.size, begun)
    hear_out(answers, meeting.hear, f"{crew.size} workers answer")
    return meeting.pids, time.monotonic() - begun


def memory(crew: Crew) -> dict[str, float]:
    """Of all processes, after each worker has worked and collected its garbage."""
    with asking(crew.port, REPLACE_RATE) as answers:
        meet(crew, answers)  # they start one after the other
    with contextlib.ExitStack() as stack:
        clients = connection_to_each(crew, stack)
        for number in range(REQUESTS):
            for client in clients.values():
                if SENT not in ask(client, record_request(number % ROUTES)):
                    raise BenchmarkError("a record came back without what was sent")
        for pid, client in clients.items():
            if ask(client, request_line("GET /collect")) != b"%d" % pid:
                raise BenchmarkError("another worker answered on a connection that was kept")
        tree = procfs.tree(crew.master)
        return {
            "pss_mib": procfs.memory_of(tree).pss / MIB,
            "worker_pss_mib": statistics.mean(procfs.memory(pid).pss for pid in clients) / MIB,
            "processes": len(tree),
        }


def connection_to_each(crew: Crew, stack: contextlib.ExitStack) -> dict[int, socket.socket]:
    """One kept connection by worker. Several are opened at a time, or one worker would get all."""
    need_descriptors(BATCHES * BATCH + 200)
    found: dict[int, socket.socket] = {}
    for _ in range(BATCHES):
        batch = [
            stack.enter_context(socket.create_connection((HOST, crew.port), timeout=30))
            for _ in range(BATCH)
        ]
        for client in batch:
            client.sendall(request_line("GET /pid"))
        for client in batch:
            found.setdefault(int(ask(client, b"")), client)
        if len(found) == crew.size:
            return found
    raise BenchmarkError(f"only {len(found)} of {crew.size} workers accept connections")


def request_line(line: str, body: bytes = b"") -> bytes:
    head = f"{line} HTTP/1.1\r\nHost: {HOST}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def record_request(number: int) -> bytes:
    return request_line(f"POST /records/{number}", b'{%s,"tags":["b"],"number_3":7}' % SENT)


def replacement(crew: Crew) -> dict[str, float]:
    """From SIGKILL until a new process answers."""
    with asking(crew.port, REPLACE_RATE) as answers:
        known, _ = meet(crew, answers)
        seen = Replacement(known)
        killed_at = time.monotonic()
        os.kill(max(known), signal.SIGKILL)
        hear_out(answers, seen.hear, "a killed worker is replaced")
        assert seen.over_at is not None
        return {
            "replace_ms": (seen.over_at - killed_at) * 1000,
            "replace_failed": seen.failed,
        }


def reload(crew: Crew) -> dict[str, float]:
    """From SIGHUP until all workers are new, as new connections see it."""
    with asking(crew.port, RELOAD_RATE) as answers:
        met = [meet(crew, answers) for _ in range(MEETINGS)]
        old = {pid for pids, _ in met for pid in pids}
        exchange = Exchange(old, crew.size)
        begun = time.monotonic()
        os.kill(crew.master, signal.SIGHUP)
        hear_out(answers, exchange.hear, "all workers are exchanged")
        assert exchange.over_at is not None
        return {
            "reload_s": exchange.over_at - begun,
            "reload_failed": exchange.failed,
            "meet_ms": statistics.median(took_s for _, took_s in met) * 1000,
        }


CASES: Final[dict[str, Callable[[Crew], dict[str, float]]]] = {
    "processes_pss": memory,
    "processes_replace": replacement,
    "processes_reload": reload,
}
