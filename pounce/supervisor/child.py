"""One worker process as the master holds it: its pid, its record and its control channel."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from signal import Signals
from typing import Final

from pounce import ipc

# Together more than a socket buffer holds (208 KiB): all that a dead worker left behind is read,
# and one that never stops talking does not keep the master from the others.
READ_SIZE: Final = 64 * 1024  # bytes
READS: Final = 8

log = logging.getLogger("pounce")


@dataclass(slots=True, kw_only=True)
class Child:
    """From fork until it has been reaped.

    Attributes:
        id: the worker's number in the supervisor's events and actions.
        pid: 0 until it has said it, where a template forks it.
        owed: a signal that waits for the pid.
        trace: descriptor of the file that its stacks go to when it dies of a fault.
        control: the master's end of the channel; non-blocking, for a worker may be stopped.
    """

    id: int
    slot: int
    generation: int
    record: int
    pid: int
    control: socket.socket
    trace: int = -1
    hung_up: bool = False
    owed: Signals | None = None
    _reader: ipc.LineReader = field(default_factory=ipc.LineReader)

    def __str__(self) -> str:
        return f"slot={self.slot} pid={self.pid} generation={self.generation}"

    def tell(self, message: ipc.ToWorker, descriptors: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self.control, [ipc.encode(message)], descriptors)
        except OSError as error:
            # It is dead, which SIGCHLD tells, or deaf, which its deadline ends.
            log.debug("worker cannot be told %s %r: %s", self, message, error)

    def read(self) -> Iterator[ipc.ToMaster]:
        """What it has said since the last time; `hung_up` is true when that was all."""
        for _ in range(READS):
            if self.hung_up:
                return
            try:
                data = self.control.recv(READ_SIZE)
            except BlockingIOError:
                return
            except OSError:  # ECONNRESET: it died with words of ours unread
                data = b""
            self.hung_up = not data
            for line in self._reader.feed(data):
                if message := self._understand(line):
                    yield message

    def _understand(self, line: bytes) -> ipc.ToMaster | None:
        try:
            message = ipc.decode(line)
        except ValueError as error:
            log.warning("worker sent nonsense, ignoring it %s: %s", self, error)
            return None
        if isinstance(message, ipc.ToMaster):
            return message
        log.warning("worker sent an order, ignoring it %s: %r", self, message)
        return None
