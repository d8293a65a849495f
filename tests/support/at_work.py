"""A worker in the test's own event loop, and the master's end of its channel."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

import pytest
import uvloop

from pounce import ipc
from pounce.worker.acceptor import Acceptor, make_acceptor
from pounce.worker.connection import Connection
from pounce.worker.door import Door
from pounce.worker.lifespan import Lifespan
from pounce.worker.service import Service
from pounce.worker.worker import Worker

HUNG: Final = 30.0  # seconds; only a failing test waits so long
BACKLOG: Final = 64

MakeLoop = Callable[[], asyncio.AbstractEventLoop]
LOOPS: Final = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop.new_event_loop, id="uvloop"),
]

Message = TypeVar("Message", bound=ipc.ToMaster)


class MasterEnd:
    """The master's end of the channel to a worker.

    Attributes:
        heard: what the worker has said and nobody has asked for yet.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._reader = ipc.LineReader()
        self.heard: list[ipc.Message] = []
        channel.setblocking(False)

    def say(self, *messages: ipc.ToWorker, descriptors: Sequence[int] = ()) -> None:
        """All in one piece; the descriptors stay the caller's."""
        data = b"".join(map(ipc.encode, messages))
        socket.send_fds(self._channel, [data], descriptors)

    def close(self) -> None:
        self._channel.close()

    async def hear(self, kind: type[Message]) -> Message:
        """The next of that kind; what else has come stays."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(HUNG):
            while True:
                for at, one in enumerate(self.heard):
                    if isinstance(one, kind):
                        del self.heard[at]
                        return one
                data = await loop.sock_recv(self._channel, 4096)
                assert data, f"the worker left without {kind.__name__}"
                self.heard += map(ipc.decode, self._reader.feed(data))


@asynccontextmanager
async def at_work(
    service: Service, lifespan: Lifespan, *, listeners: Sequence[socket.socket] = ()
) -> AsyncIterator[MasterEnd]:
    """A worker that accepts; at the end of the block it must be on its way out."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    worker = Worker(ipc.Seat(0, 1, 0, theirs.detach(), ()))

    def accept_on(descriptors: Sequence[int]) -> Acceptor:
        return make_acceptor(
            service.loop, descriptors, lambda: Connection(service), backlog=BACKLOG
        )

    door = Door([os.dup(one.fileno()) for one in listeners], accept_on)
    serving = asyncio.create_task(
        worker.serve(service, lifespan, door, date=False, shutdown_timeout=1.0)
    )
    with ours:
        master = MasterEnd(ours)
        await master.hear(ipc.Ready)
        master.say(ipc.Go())
        await master.hear(ipc.Accepting)
        yield master
        async with asyncio.timeout(HUNG):
            assert await serving == 0
    worker._control._socket.close()


@contextmanager
def collector_kept() -> Iterator[None]:
    """The garbage collector, which a worker sets for the whole process, is as before."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def run(main: Any, make_loop: MakeLoop) -> None:
    with asyncio.Runner(loop_factory=make_loop) as runner, collector_kept():
        runner.run(main)


async def polled() -> None:
    """Until the loop has asked the kernel what is ready, and done all of it, whatever came before.

    For what must not happen: by then it would have.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        for _ in range(2):  # the first may be found ready in the middle of a round
            theirs.send(b"!")
            await loop.sock_recv(ours, 1)
            await asyncio.sleep(0)


async def until(holds: Callable[[], object]) -> None:
    """Lets the loop go on until it is true."""
    async with asyncio.timeout(HUNG):
        while not holds():
            await asyncio.sleep(0.001)


def listener() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(BACKLOG)
    return sock


def connected(to: socket.socket) -> socket.socket:
    """A client, which for a start waits in the queue."""
    sock = socket.create_connection(to.getsockname()[:2], timeout=HUNG)
    sock.setblocking(False)
    return sock


async def read(client: socket.socket) -> bytes:
    async with asyncio.timeout(HUNG):
        return await asyncio.get_running_loop().sock_recv(client, 65536)
