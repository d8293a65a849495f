"""A real master with real forks, in a process of its own, and workers that are a few lines."""

from __future__ import annotations

import logging
import os
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pounce import ipc
from pounce.addresses import TcpAddress
from pounce.listeners import open_listeners
from pounce.scoreboard import Scoreboard
from pounce.supervisor import process
from pounce.supervisor.children import Plan, WorkerEntry
from pounce.supervisor.crew import Policy
from pounce.supervisor.runner import Runner
from pounce.supervisor.templates import Preload

PATIENCE = 60.0  # seconds; only a failing test waits so long


class Talk:
    """A worker's end of its channel, the plain way."""

    def __init__(self, seat: ipc.Seat) -> None:
        self._socket = socket.socket(fileno=seat.control)
        self._socket.setblocking(True)
        self._reader = ipc.LineReader()
        self._heard: list[ipc.Message] = []

    def say(self, message: ipc.ToMaster) -> None:
        self._socket.send(ipc.encode(message))

    def hear(self) -> ipc.Message | None:
        """The next message; None when the master is gone."""
        while not self._heard:
            data = self._socket.recv(4096)
            if not data:
                return None
            self._heard += map(ipc.decode, self._reader.feed(data))
        return self._heard.pop(0)


def started(seat: ipc.Seat) -> Talk:
    """Up to the point where it accepts."""
    talk = Talk(seat)
    talk.say(ipc.Ready())
    if not isinstance(talk.hear(), ipc.Go):
        sys.exit(0)  # it is over before it began
    talk.say(ipc.Accepting())
    return talk


def good(seat: ipc.Seat) -> int:
    """Serves, and goes when it is told to."""
    talk = started(seat)
    while not isinstance(message := talk.hear(), ipc.Drain | None):
        pass
    if message is not None:
        talk.say(ipc.Drained(0))
    return 0


class Master:
    """A master that is running, or has ended.

    Attributes:
        pid: also the number of its process group.
        port: where it listens.
        lines: its log so far: ``level message``.
    """

    def __init__(
        self,
        entry: WorkerEntry,
        *,
        slots: int = 2,
        records: int = 16,
        scoreboard: Scoreboard | None = None,
        start_timeout: float = PATIENCE,
        shutdown_timeout: float = PATIENCE,
        reload_dirs: Sequence[Path] = (),
        preload: Preload | None = None,
        before: Callable[[], object] = lambda: None,
        **policy: Any,
    ) -> None:
        """Fork it. `before` runs in it before the runner does."""
        self._log, write_end = os.pipe()
        self.lines: list[str] = []
        self._rest = b""
        self.status: process.Ended | None = None
        listeners = open_listeners([TcpAddress("127.0.0.1", 0)], slots=slots, backlog=16)
        self.port = int(listeners.names[0].rpartition(":")[2])

        def main() -> int:
            before()
            _log_to(write_end)
            return Runner(
                Plan(
                    entry,
                    preload=preload,
                    policy=Policy(
                        start_timeout=start_timeout, shutdown_timeout=shutdown_timeout, **policy
                    ),
                    slots=slots,
                ),
                listeners=listeners,
                scoreboard=scoreboard or Scoreboard(records),
                reload_dirs=reload_dirs,
            ).run()

        def first() -> None:
            os.setsid()
            os.close(self._log)

        self.pid = process.fork(main, first=first)
        os.close(write_end)
        listeners.abandon()

    def wait_for(self, text: str, *, times: int = 1) -> str:
        """The line of the log that holds `text` for that many times, from its beginning."""
        while len(found := self.find(text)) < times:
            assert self._read(), f"it ended without {text!r}\n{self.story}"
        return found[times - 1]

    def poll(self, patience: float) -> None:
        """Read what is written to the log in so many seconds, at least one line if it comes."""
        if select.select([self._log], [], [], patience)[0]:
            self._read()

    def freeze(self) -> None:
        """Stop it while it sleeps; what happens until thaw() then happens at once for it."""
        self._wait_until(lambda status: status["State"].startswith("S"))
        self.tell(signal.SIGSTOP)
        self._wait_until(lambda status: status["State"].startswith("T"))

    def thaw(self, *, pending: signal.Signals) -> None:
        """Let it go on once that signal has been sent to it."""
        self._wait_until(lambda status: bool(int(status["ShdPnd"], 16) & 1 << (pending - 1)))
        self.tell(signal.SIGCONT)

    def _wait_until(self, true: Callable[[dict[str, str]], bool]) -> None:
        """Until it is true of the master's status, see proc(5)."""
        for _ in range(int(PATIENCE * 1000)):
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            if true({name: value.strip() for name, _, value in (x.partition(":") for x in lines)}):
                return
            time.sleep(0.001)
        raise AssertionError(f"it never comes to that\n{self.story}")

    def find(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]

    def pids_of(self, text: str) -> list[int]:
        """The pids in the log's lines with `text`."""
        found = (re.search(r" pid=(\d+)", line) for line in self.find(text))
        return [int(one[1]) for one in found if one]

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> int | None:
        """Wait until the master and all that it started are gone; its status, None by a signal."""
        while self._read():
            pass
        return self._reap().status

    def stop(self) -> int | None:
        self.tell(signal.SIGTERM)
        return self.end()

    def close(self) -> None:
        """After a test, however it went: nothing is left."""
        if self.status is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._reap()
        os.close(self._log)

    @property
    def story(self) -> str:
        return "\n".join(self.lines)

    def _reap(self) -> process.Ended:
        if self.status is None:
            self.status = process.decode(*os.waitpid(self.pid, 0))
        return self.status

    def _read(self) -> bool:
        """More lines; False when everybody who could write one is gone."""
        readable, _, _ = select.select([self._log], [], [], PATIENCE)
        assert readable, f"nothing happens any more\n{self.story}"
        data = os.read(self._log, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += [line.decode() for line in lines]
        return bool(data)


def _log_to(descriptor: int) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = f"{record.levelname.lower()} {record.getMessage()}"
            if record.exc_text:
                text += f" [{record.exc_text}]"
            os.write(descriptor, text.encode() + b"\n")

    logger = logging.getLogger("pounce")
    logger.handlers[:] = [Handler()]
    logger.setLevel(logging.DEBUG)
    logger.propagate = False


Start = Callable[..., Master]
