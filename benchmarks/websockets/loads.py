"""What is done to a started server, and what is read off it: each load is one way to measure."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from benchmarks import procfs
from benchmarks.loads import MIB, need_descriptors
from benchmarks.running import BenchmarkError, Started
from benchmarks.websockets.frames import Messages
from benchmarks.websockets.held import Holder
from benchmarks.websockets.sockets import connected
from benchmarks.websockets.talk import Crowd, percentile

ECHO: Final = "/echo"
ROOM: Final = "/room"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything.

    Attributes:
        rate: messages a second of the paced load.
    """

    seconds: float
    warmup_s: float
    idle_sockets: int
    rate: float = 0.0


class Load(Protocol):
    """One way to measure; the values are named by metric."""

    @property
    def messages(self) -> Messages: ...

    @property
    def path(self) -> str: ...

    def measure(self, started: Started, plan: Plan) -> dict[str, float]: ...


@contextlib.contextmanager
def crowd_of(started: Started, load: Load, number: int) -> Iterator[Crowd]:
    need_descriptors(number + 200)
    deflate = load.messages.deflate
    with connected(started.port, load.path, number, deflate=deflate) as clients:
        crowd = Crowd(clients)
        try:
            yield crowd
        finally:
            crowd.close()


@dataclass(slots=True)
class Window:
    """The server's CPU and memory over what is done in a block."""

    started: Started
    values: dict[str, float]

    @contextlib.contextmanager
    def measured(self, messages: Callable[[], int]) -> Iterator[None]:
        """Args: messages: how many there were, known when the block has ended."""
        started = self.started
        started.settle()
        cpu, core, clock = started.cpu_ns(), procfs.core_busy_s(started.core), time.monotonic()
        yield
        after, core_after = started.cpu_ns(), procfs.core_busy_s(started.core)
        passed = time.monotonic() - clock
        spent_s = sum(after[pid] - cpu[pid] for pid in cpu) / 1e9
        if not spent_s:
            raise BenchmarkError("the server's processes used no CPU: the wrong ones are watched")
        self.values |= {
            "cpu_us": spent_s * 1e6 / messages(),
            "rps": messages() / passed,
            "busy": spent_s / passed,
            "foreign": max(0.0, core_after - core - spent_s) / passed,
            "pss_mib": procfs.memory_of(started.pids).pss / MIB,
        }


@dataclass(frozen=True, slots=True)
class Echo:
    """As many messages as the server can echo, with few in flight on each WebSocket."""

    messages: Messages
    sockets: int = 32
    depth: int = 1  # messages in one write
    path: str = ECHO

    def measure(self, started: Started, plan: Plan) -> dict[str, float]:
        frames, answer = self.messages.frames(), self.messages.answer
        window = Window(started, {})
        echoed = 0
        with crowd_of(started, self, self.sockets) as crowd:
            crowd.echo(frames, answer, depth=self.depth, seconds=plan.warmup_s)
            with window.measured(lambda: echoed):
                echoed = crowd.echo(frames, answer, depth=self.depth, seconds=plan.seconds)
        return window.values


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One message after the other to all in a room, counted by each who hears it."""

    messages: Messages
    sockets: int = 1000
    path: str = ROOM

    def measure(self, started: Started, plan: Plan) -> dict[str, float]:
        frames, answer = self.messages.frames(), self.messages.answer
        window = Window(started, {})
        reached: list[float] = []
        with crowd_of(started, self, self.sockets) as crowd:
            crowd.broadcast(frames, answer, seconds=plan.warmup_s)
            with window.measured(lambda: len(reached) * self.sockets):
                reached = crowd.broadcast(frames, answer, seconds=plan.seconds)
        return window.values | {"reach_ms": statistics.median(reached) * 1000}


@dataclass(frozen=True, slots=True)
class Paced:
    """Messages at a rate that all servers can answer: how long does one take?"""

    messages: Messages
    sockets: int = 32
    path: str = ECHO

    def measure(self, started: Started, plan: Plan) -> dict[str, float]:
        frames, answer = self.messages.frames(), self.messages.answer
        if not plan.rate:
            raise BenchmarkError(
                "latency without a rate: give one, or measure echo64 in the same run"
            )
        window = Window(started, {})
        took: list[float] = []
        with crowd_of(started, self, self.sockets) as crowd:
            crowd.paced(frames, answer, rate=plan.rate, seconds=plan.warmup_s)
            with window.measured(lambda: len(took)):
                took = crowd.paced(frames, answer, rate=plan.rate, seconds=plan.seconds)
        return {
            "rate": plan.rate,
            "p50_us": percentile(took, 0.50) * 1e6,
            "p99_us": percentile(took, 0.99) * 1e6,
            "p999_us": percentile(took, 0.999) * 1e6,
            "paced_cpu_us": window.values["cpu_us"],
            "foreign": window.values["foreign"],
        }


@dataclass(frozen=True, slots=True)
class Held:
    """What a WebSocket costs that has said one thing and now rests."""

    messages: Messages
    path: str = ECHO
    rest_s: float = 5.0  # until what only a busy WebSocket needs was given back
    first: int = 100  # sockets that pay for what is made once

    def measure(self, started: Started, plan: Plan) -> dict[str, float]:
        need_descriptors(plan.idle_sockets + 300)
        with Holder(started.port, self.path, self.messages) as holder:
            holder.open(self.first)
            holder.rest(self.rest_s)
            started.settle()
            before = procfs.memory_of(started.pids)
            holder.open(plan.idle_sockets)
            holder.rest(self.rest_s)
            started.settle()
            after = procfs.memory_of(started.pids)
            holder.ask_all()  # a server that closed some has spared their memory
        return {
            "idle_pss_kib": (after.pss - before.pss) / plan.idle_sockets / 1024,
            "idle_rss_kib": (after.rss - before.rss) / plan.idle_sockets / 1024,
        }
