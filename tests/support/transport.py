"""A transport in memory, and a worker's service around any application. No socket, no clock."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from pounce.access_log import AccessLog
from pounce.asgi import App
from pounce.worker.connection import Connection
from pounce.worker.scope import Trust
from pounce.worker.service import Service, Timeouts
from pounce.worker.wire.h1_h11 import H11Reader
from pounce.worker.wire.h1_request import Limits
from pounce.worker.wire.h1_rules import Http1Rules


class NoSocket:
    """Has a descriptor, of which the kernel can say nothing about a peer."""

    def __init__(self) -> None:
        self._descriptor = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor


NO_SOCKET: Final = NoSocket()


class MemoryTransport(asyncio.Transport):
    """Keeps what is written, and what is done to it.

    Attributes:
        output: every byte written.
        state: "open", "closing" or "aborted"; half_closed is apart from it.
        unsent: what get_write_buffer_size() says; a test's to set.
    """

    def __init__(self, *, peer: Any = ("127.0.0.1", 50000), own: Any = ("127.0.0.1", 8000)) -> None:
        super().__init__({"peername": peer, "sockname": own, "socket": NO_SOCKET})
        self.output = b""
        self.state = "open"
        self.half_closed = False
        self.reading = True
        self.unsent = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert self.state == "open", f"written when {self.state}: {data!r}"
        assert not self.half_closed, f"written after write_eof: {data!r}"
        self.output += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        if self.state == "open":
            self.state = "closing"

    def abort(self) -> None:
        self.state = "aborted"

    def pause_reading(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "resumed twice"
        self.reading = True


def make_service(
    app: App,
    *,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    trust: tuple[str, ...] = ("127.0.0.1",),
    access: AccessLog | None = None,
    **rest: Any,
) -> Service:
    """A service on the running loop, with the settings that a test does not care about."""
    return Service(
        app,
        loop=asyncio.get_running_loop(),
        reader=H11Reader(),
        rules=Http1Rules(limits or Limits()),
        timeouts=timeouts or Timeouts(),
        trust=Trust(trust),
        access=access,
        **rest,
    )


def connect(service: Service, transport: MemoryTransport | None = None) -> Connection:
    """A connection of `service`, as the event loop makes one."""
    connection = Connection(service)
    connection.connection_made(transport or MemoryTransport())
    return connection


async def settle() -> None:
    """Lets everything that is ready run, without waiting for a time."""
    for _ in range(20):
        await asyncio.sleep(0)
