"""What a server says of itself, joined with what the system says of its processes.

The reading is done here, in the process of whoever wants to know: the master has better to do.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

# Adding up a process's pages holds its memory map: not at every look.
MEMORY_EVERY_S: Final = 5.0
HISTORY: Final = 60  # looks that the curve of requests shows


@dataclass(frozen=True, slots=True)
class Usage:
    """One process; None is what could not be read.

    Attributes:
        cpu_percent: of one core, since the look before.
        pss: bytes of memory, each shared page divided by the number of those who share it.
        uss: bytes that its end would free.
        rss: bytes with all that is shared.
    """

    cpu_percent: float | None = None
    pss: int | None = None
    uss: int | None = None
    rss: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "cpu_percent": self.cpu_percent,
            "pss": self.pss,
            "uss": self.uss,
            "rss": self.rss,
        }


UNKNOWN: Final = Usage()


@dataclass(frozen=True, slots=True)
class Sample:
    """One look.

    Attributes:
        status: the server's own words.
        usage: by pid.
        rates: requests a second, by pid; none before the second heartbeat that is seen.
        history: of all workers together, the newest last.
    """

    status: dict[str, Any]
    usage: dict[int, Usage] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)
    history: tuple[float, ...] = ()

    def of(self, pid: int) -> Usage:
        return self.usage.get(pid, UNKNOWN)

    def as_json(self) -> dict[str, Any]:
        """The status, each process with its usage."""
        status = {key: value for key, value in self.status.items() if key != "ok"}
        for name in ("workers", "templates"):
            status[name] = [{**one, **self.of(one["pid"]).as_dict()} for one in status[name]]
        return {**status, **self.of(status["pid"]).as_dict()}


@dataclass(slots=True)
class _Beat:
    """The last heartbeat that was seen of a worker, and the rate up to there."""

    at: float
    requests: int
    rate: float | None = None


class Sampler:
    """Looks again and again at the processes of one server.

    Args:
        here: the server's process ids mean the same to us as to it (not so across containers).
    """

    def __init__(self, *, here: bool) -> None:
        self._here = here
        self._processes: dict[int, psutil.Process] = {}
        self._memory: dict[int, tuple[float, Usage]] = {}
        self._beats: dict[int, _Beat] = {}
        self._history: deque[float] = deque(maxlen=HISTORY)

    def look(self, status: dict[str, Any], now: float | None = None) -> Sample:
        """Adds to a status that has just come what else there is to know."""
        now = time.monotonic() if now is None else now
        rates = self._rates(status["workers"], now)
        self._history.append(sum(rates.values()))
        pids = [status["pid"]]
        for name in ("workers", "templates"):
            pids += [one["pid"] for one in status[name] if one["pid"]]
        self._forget_all_but(set(pids))
        usage = {pid: self._usage(pid, now) for pid in pids} if self._here else {}
        return Sample(status, usage, rates, tuple(self._history))

    def _rates(self, workers: list[dict[str, Any]], now: float) -> dict[int, float]:
        """By the time between heartbeats: looks between two of them would see nothing happen."""
        rates = {}
        for worker in workers:
            pid, silent_s = worker["pid"], worker["silent_s"]
            if silent_s is None:
                continue
            at, requests = now - silent_s, worker["requests"]
            beat = self._beats.setdefault(pid, _Beat(at, requests))
            if at > beat.at + 0.1:  # the same heartbeat comes out a little different each time
                self._beats[pid] = beat = _Beat(
                    at, requests, max(0, requests - beat.requests) / (at - beat.at)
                )
            if beat.rate is not None:
                rates[pid] = beat.rate
        return rates

    def _usage(self, pid: int, now: float) -> Usage:
        try:
            if pid not in self._processes:
                self._processes[pid] = psutil.Process(pid)
                self._processes[pid].cpu_percent()  # counts from here
                cpu = None
            else:
                cpu = self._processes[pid].cpu_percent()
        except psutil.Error:
            return UNKNOWN
        at, memory = self._memory.get(pid, (0.0, UNKNOWN))
        if memory is UNKNOWN or now - at >= MEMORY_EVERY_S:
            memory = _memory_of(self._processes[pid])
            self._memory[pid] = (now, memory)
        return Usage(cpu, memory.pss, memory.uss, memory.rss)

    def _forget_all_but(self, pids: set[int]) -> None:
        self._processes = {pid: self._processes[pid] for pid in self._processes.keys() & pids}
        self._memory = {pid: self._memory[pid] for pid in self._memory.keys() & pids}
        self._beats = {pid: self._beats[pid] for pid in self._beats.keys() & pids}


def _memory_of(process: psutil.Process) -> Usage:
    try:
        full = process.memory_full_info()
        return Usage(pss=getattr(full, "pss", None), uss=full.uss, rss=full.rss)
    except psutil.Error:  # not permitted, most likely
        pass
    try:
        return Usage(rss=process.memory_info().rss)
    except psutil.Error:
        return UNKNOWN
