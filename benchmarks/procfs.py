"""What Linux tells about a process tree and a core; knows nothing of servers and loads."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """The process and all its descendants, parents first."""
    found = [pid]
    for parent in found:
        for task in PROC.joinpath(str(parent), "task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def exists(pid: int) -> bool:
    return PROC.joinpath(str(pid)).exists()


def cpu_ns(pid: int) -> int:
    """CPU time of all the process's threads, ended ones too, in nanoseconds.

    The process's CPU clock (clock_getcpuclockid(3)): the kernel's own sum, where utime and stime
    in /proc/PID/stat come in steps of 10 ms.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process or several, in bytes."""

    pss: int
    rss: int

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.pss + other.pss, self.rss + other.rss)


def memory(pid: int) -> Memory:
    kib = {"Pss": 0, "Rss": 0}
    for line in PROC.joinpath(str(pid), "smaps_rollup").read_text().splitlines()[1:]:
        name, _, amount = line.partition(":")
        if name in kib:
            kib[name] = int(amount.split()[0])
    return Memory(kib["Pss"] * 1024, kib["Rss"] * 1024)


def memory_of(pids: list[int]) -> Memory:
    return sum((memory(pid) for pid in pids), Memory(0, 0))


def strays(pids: list[int], core: int) -> list[int]:
    """Threads that may run elsewhere than on the core: there must be none."""
    threads = [int(task.name) for pid in pids for task in PROC.joinpath(str(pid), "task").iterdir()]
    return [thread for thread in threads if os.sched_getaffinity(thread) != {core}]


def core_busy_s(core: int) -> float:
    """Seconds this core has worked for anyone since boot, time stolen by the host included."""
    for line in PROC.joinpath("stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    raise LookupError(f"/proc/stat has no core {core}")
