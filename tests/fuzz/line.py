"""The peer's end of a connection, in memory: a transport that behaves as the loop's do."""

from __future__ import annotations

import asyncio
from typing import Any

from pounce.worker.connection import Connection
from tests.support.transport import MemoryTransport

HIGH = 64 * 1024


class JumpLoop(asyncio.SelectorEventLoop):
    """A loop whose time can be put forward."""

    skew = 0.0

    def time(self) -> float:
        return super().time() + self.skew


class Line(MemoryTransport):
    """Holds what a peer that does not read has not taken, and loses the connection once closed.

    Attributes:
        stalled: the peer does not read.
        delivered: bytes that have reached the connection.
        lost: the protocol was told, or will be in the next turn.
        cut: it was, so that output may be missing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.pending: list[bytes] = []  # came while nothing was read
        self.stalled = False
        self.lost = False
        self.cut = False
        self.full = False
        self.delivered = 0
        self.protocol: Connection

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.half_closed, "written after write_eof"  # where asyncio raises
        if self.state != "open":
            return  # as the loops do between an abort and connection_lost()
        self.pieces.append(bytes(data))
        if self.stalled:
            self.unsent += len(data)
            if self.unsent > HIGH and not self.full:
                self.full = True
                self.protocol.pause_writing()

    def stall(self) -> None:
        self.stalled = True

    def unstall(self) -> None:
        self.stalled = False
        self.unsent = 0
        if self.full and not self.lost:
            self.full = False
            self.protocol.resume_writing()
        if self.state == "closing":
            self.lose()

    def close(self) -> None:
        if self.state == "open":
            self.state = "closing"
            if not self.unsent:
                self.lose()

    def abort(self) -> None:
        self.state = "aborted"
        self.cut = True
        self.lose()

    def pause_reading(self) -> None:
        if self.state == "open":
            super().pause_reading()

    def resume_reading(self) -> None:
        if self.state == "open":
            super().resume_reading()
            asyncio.get_running_loop().call_soon(self._deliver_pending)

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.pending.clear()
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def deliver(self, data: bytes) -> None:
        """Bytes from the peer, which may have to wait."""
        self.pending.append(data)
        self._deliver_pending()

    def _deliver_pending(self) -> None:
        while self.pending and self.reading and self.state == "open":
            data = self.pending.pop(0)
            self.delivered += len(data)
            self.protocol.data_received(data)
