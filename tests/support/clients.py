"""Clients under way beside a test, and which of their failures a server can be blamed for.

Knows what load.py reports. A request is excused that was in flight in a worker at the moment in
which it was killed: on a connection that this very process held. What waited in a queue, or
connected later, has no excuse.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from signal import SIGKILL, SIGSTOP
from typing import IO, Any, Final

import psutil

from tests.support.server import Server
from tests.support.serverlog import wait_until

# Of each kind so many; of "steady" and "busy", connections each second.
ALL_KINDS: Final[dict[str, float]] = {
    "keep": 8,
    "idle": 8,
    "new": 8,
    "steady": 100,
    "busy": 60,
    "slow": 4,
    "stream": 4,
    "upload": 2,
}


@dataclass(frozen=True)
class Failure:
    """A request without its whole answer.

    Attributes:
        kind: of client, see load.py.
        begun, ended: on time.monotonic().
        port: the client's own.
        pid: of the worker that had answered on this connection before; "" if none had.
        used: the connection had had a request before.
    """

    kind: str
    why: str
    begun: float
    ended: float
    port: int
    pid: str
    used: bool


class Casualties:
    """The connections that processes held when they were killed."""

    def __init__(self) -> None:
        self._held: dict[int, float] = {}  # until when, by the client's port
        self.connections = 0

    def kill(self, pid: int) -> None:
        """SIGKILL; the process stands still while its connections are counted."""
        process = psutil.Process(pid)
        os.kill(pid, SIGSTOP)
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "a process that stands still")
        self.note(pid)
        os.kill(pid, SIGKILL)

    def note(self, pid: int) -> None:
        """This process is about to be killed, and accepts nothing any more."""
        with contextlib.suppress(psutil.NoSuchProcess):  # the server was faster
            held = psutil.Process(pid).net_connections("tcp")
            self.note_ports([one.raddr.port for one in held if one.raddr])

    def note_ports(self, ports: list[int]) -> None:
        self.connections += len(ports)
        self._held |= dict.fromkeys(ports, time.monotonic() + 1.0)

    def excuse(self, failure: Failure) -> bool:
        # A port may be another client's soon after.
        return failure.begun <= self._held.get(failure.port, 0.0)


class Clients:
    """A process full of clients.

    Attributes:
        answered: requests that had their whole answer, by kind.
        begun: the same for the heads of answers.
        failures: all of them, excused ones too.
        waits: of connections for one request: when begun, and seconds to the whole answer; known
            at the end.
        announced: when an answer first said that it would be its connection's last; 0: none has.
    """

    def __init__(
        self, server: Server, counts: dict[str, float], *, leave_s: float | None = None
    ) -> None:
        self._spec = json.dumps(
            {"address": server.addresses[0], "counts": counts, "leave_s": leave_s}
        )
        self.answered: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.waits: list[tuple[float, float]] = []
        self.announced = 0.0
        self.casualties = Casualties()
        self._recent: list[tuple[float, Counter[str], Counter[str]]] = []  # versions and pids
        self._reports = 0
        self._over = False

    @property
    def requests(self) -> int:
        return self.answered.total() + len(self.failures)

    @property
    def blamed(self) -> list[Failure]:
        """The failures that should not be."""
        return [one for one in self.failures if not self.casualties.excuse(one)]

    @property
    def excused(self) -> int:
        return len(self.failures) - len(self.blamed)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Until the end of the block, and until everything asked for has come to its end."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.load", self._spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        reading = threading.Thread(target=self._read, args=(process.stdout,))
        reading.start()
        try:
            wait_until(lambda: self.begun, "first answers")
            yield
            process.stdin.close()
            wait_until(lambda: self._over, "the end of the clients")
        finally:
            process.kill()
            reading.join()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def _read(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        self.answered = Counter(said["answered"])
        self.begun = Counter(said["begun"])
        self.announced = said["announced"]
        self.failures += [Failure(**one) for one in said["failures"]]
        now = time.monotonic()
        self._recent.append((now, Counter(said["versions"]), Counter(said["pids"])))
        self._reports += 1
        if "over" in said:
            self.waits = [(begun, took) for begun, took in said["waits"]]
            self._over = True

    def wait_for_more(self, count: int) -> None:
        """Until so many more requests are answered."""
        goal = self.answered.total() + count
        wait_until(lambda: self.answered.total() >= goal or self._over, f"{goal} answers")

    def go_on_for(self, seconds: float) -> None:
        """Lets time pass under load; what is measured is never how much."""
        end = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() >= end, "the end of a pause")

    def versions(self, since: float = 0.0) -> set[str]:
        """Of the code that has answered since then."""
        return {name for at, versions, _ in self._recent if at > since for name in versions}

    def pids(self, since: float = 0.0) -> set[int]:
        """Of the workers that have answered since then."""
        return {int(pid) for at, _, pids in self._recent if at > since for pid in pids}

    def wait_for_only(self, version: str) -> None:
        """Until no other code has answered for a while."""

        def settled() -> bool:
            last = [versions for _, versions, _ in self._recent[-6:]]
            return len(last) == 6 and {name for one in last for name in one} == {version}

        wait_until(settled, f"nothing but version {version}")

    def waited(self, since: float, until: float) -> list[float]:
        """Sorted seconds that new connections took that were begun in this time."""
        return sorted(took for begun, took in self.waits if since <= begun < until)
