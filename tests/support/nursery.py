"""Templates under test: what they and their workers are, told through a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Callable, Iterator
from typing import Any

from pounce import ipc
from pounce.supervisor.template import Load, Run
from pounce.supervisor.templates import Preload
from tests.support.master import PATIENCE, good

Facts = dict[str, Any]


class Reports:
    """A pipe on which any process tells the test what it is."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        self._rest = b""
        self._waiting: list[Facts] = []

    def say(self, who: str, **facts: object) -> None:
        facts = {"who": who, "pid": os.getpid(), "ppid": os.getppid(), **facts}
        os.write(self._write_end, json.dumps(facts).encode() + b"\n")

    def hear(self, who: str) -> Facts:
        """The next one of that sort; those of others wait."""
        while True:
            for one in self._waiting:
                if one["who"] == who:
                    self._waiting.remove(one)
                    return one
            assert select.select([self._read_end], [], [], PATIENCE)[0], f"no word of a {who}"
            *lines, self._rest = (self._rest + os.read(self._read_end, 65536)).split(b"\n")
            self._waiting += map(json.loads, lines)

    def rest(self) -> list[Facts]:
        """What else has been said by now."""
        while select.select([self._read_end], [], [], 0)[0]:
            *lines, self._rest = (self._rest + os.read(self._read_end, 65536)).split(b"\n")
            self._waiting += map(json.loads, lines)
        return self._waiting

    def close(self) -> None:
        os.close(self._read_end)
        os.close(self._write_end)


@contextlib.contextmanager
def reporting() -> Iterator[Reports]:
    reports = Reports()
    with contextlib.closing(reports):
        yield reports


def born(seat: ipc.Seat) -> None:
    """The first word of a worker that a template has forked."""
    os.write(seat.control, ipc.encode(ipc.Hello(os.getpid())))


def preload(
    reports: Reports,
    *,
    load: Load = lambda: None,
    run: Run | None = None,
    always: bool = False,
    first: Callable[[ipc.Seat], object] = lambda _: None,
) -> Preload:
    """The template says "template" when it has loaded, each worker says "worker" and is good.

    Args:
        load: the import.
        run: what the worker does instead; it must report for itself.
        first: runs in each worker; what it returns is told as "extra".
    """

    def loading() -> object:
        load()
        reports.say("template")
        return {"loaded by": os.getpid()}

    def worker(loaded: object, seat: ipc.Seat) -> int:
        born(seat)
        reports.say("worker", loaded=loaded, slot=seat.slot, extra=first(seat))
        return good(seat)

    return Preload(load=loading, run=run or worker, always=always)


def sockets() -> list[int]:
    """The inodes of the sockets that this process holds, one for each descriptor."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")
            if target.startswith("socket:["):
                found.append(int(target[8:-1]))
    return sorted(found)
