"""Accepts connections on a slot's listeners, and stops without losing one that was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

log = logging.getLogger("pounce")

# Out of descriptors, or of memory: accepting pauses, since the listener stays readable and would
# spin the loop.
EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
PAUSE: Final = 0.25  # seconds
FEW: Final = "few descriptors are left"
SPARE_MOST: Final = 64  # descriptors, or a sixteenth of the limit: not for connections
SAY_EVERY: Final = 10.0  # seconds between two lines about it, while it lasts
# From Python 3.13 on, closing a server removes its socket's file, which is the master's: new
# clients would find nothing where other workers go on serving.
KEEP_FILE: Final[dict[str, Any]] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
AT_ONCE: Final = 32  # connections accepted per turn of the loop, so that those open get theirs

Factory = Callable[[], asyncio.Protocol]


class Acceptor(Protocol):
    """Serves listeners from start() to stop()."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def make_acceptor(
    loop: asyncio.AbstractEventLoop, listeners: Sequence[int], factory: Factory, *, backlog: int
) -> Acceptor:
    """The acceptor that suits the loop.

    Args:
        listeners: descriptors, which stay the caller's; duplicates are served.
        backlog: the same everywhere, since each listen() sets it for all who share the queue.
    """
    if type(loop).__module__.startswith("uvloop"):
        return ServerAcceptor(loop, listeners, factory, backlog=backlog)
    return ReaderAcceptor(loop, listeners, factory, backlog=backlog)


class Room:
    """Knows how near the process is to its limit of descriptors, by the lowest that is free.

    Some are left to the application: one that cannot open a file would be of no use to a client
    that was let in.

    Args:
        descriptor: an open one, to make duplicates of.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY:
            limit = sys.maxsize
        spare = min(SPARE_MOST, limit // 16, (limit - self._lowest()) // 2)
        self._top = limit - spare

    def left(self, besides: int = 0) -> bool:
        """There is room for one more connection. Costs less than a microsecond.

        Args:
            besides: so many descriptors, given back just now, will be wanted again first.
        """
        taken: list[int] = []
        try:
            taken.extend(os.dup(self._descriptor) for _ in range(besides))
            return self._lowest() < self._top
        except OSError:
            return False
        finally:
            for descriptor in taken:
                os.close(descriptor)

    def _lowest(self) -> int:
        lowest = os.dup(self._descriptor)
        os.close(lowest)
        return lowest


class ServerAcceptor:
    """By loop.create_server(): uvloop accepts in C and makes the transport in the same callback.

    On EMFILE libuv accepts and closes all who wait, with a spare descriptor. So the server is
    closed before it comes to that: clients wait in the queue, which the caller's descriptor keeps.
    libuv accepts one connection per turn of the loop and listener, so there is time for it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listeners: Sequence[int],
        factory: Factory,
        *,
        backlog: int,
    ) -> None:
        self._loop = loop
        self._listeners = listeners
        self._factory = factory
        self._backlog = backlog
        self._servers: list[asyncio.AbstractServer] = []
        self._room: Room | None = None
        self._paused: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._said_at = -SAY_EVERY

    async def start(self) -> None:
        if self._listeners:
            self._room = Room(self._listeners[0])
        await self._open()

    async def stop(self) -> None:
        if self._opening is not None:
            await asyncio.wait([self._opening])  # it may end in another pause
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        self._close()

    async def _open(self) -> None:
        for descriptor in self._listeners:
            with contextlib.ExitStack() as unless_served:
                sock = unless_served.enter_context(socket.socket(fileno=os.dup(descriptor)))
                if sock.family == socket.AF_UNIX:
                    server: asyncio.AbstractServer = await self._loop.create_unix_server(
                        self._made, sock=sock, backlog=self._backlog, **KEEP_FILE
                    )
                else:
                    server = await self._loop.create_server(
                        self._made, sock=sock, backlog=self._backlog
                    )
                unless_served.pop_all()
            self._servers.append(server)

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def _made(self) -> asyncio.Protocol:
        """For a connection that was accepted. One that raises here would end the listening."""
        if self._paused is None and self._room is not None and not self._room.left():
            self._paused = self._loop.call_later(0.0, self._pause)
        return self._factory()

    def _pause(self) -> None:
        self._close()
        now = self._loop.time()
        if now - self._said_at >= SAY_EVERY:
            self._said_at = now
            log.warning("cannot accept, pausing error=%s pause_s=%.2f", FEW, PAUSE)
        self._paused = self._loop.call_later(PAUSE, self._go_on)

    def _go_on(self) -> None:
        # The closed servers left gaps below. Taken for room, they would let in one client after
        # each pause, until all is full after all.
        gaps = len(self._listeners)
        if self._room is not None and not self._room.left(besides=gaps):
            self._paused = self._loop.call_later(PAUSE, self._go_on)
        else:
            self._paused = None
            self._opening = self._loop.create_task(self._reopen())

    async def _reopen(self) -> None:
        try:
            await self._open()
        except OSError as error:  # what was free is taken again
            log.debug("cannot listen again yet error=%s", error)
            self._pause()


class ReaderAcceptor:
    """By accept() of our own, for asyncio.

    asyncio's server drops what it accepted when it is closed at the wrong moment, and on EMFILE
    retries as often as the backlog is long.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listeners: Sequence[int],
        factory: Factory,
        *,
        backlog: int,
    ) -> None:
        self._loop = loop
        self._descriptors = listeners
        self._factory = factory
        self._backlog = backlog
        self._sockets: list[socket.socket] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._paused: asyncio.TimerHandle | None = None
        self._said_at = -SAY_EVERY

    async def start(self) -> None:
        for descriptor in self._descriptors:
            sock = socket.socket(fileno=os.dup(descriptor))
            sock.setblocking(False)
            sock.listen(self._backlog)
            self._sockets.append(sock)
        self._watch()

    async def stop(self) -> None:
        """Accepts nothing more; what was accepted gets its protocol before this returns."""
        if self._paused is not None:
            self._paused.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()
        if self._opening:
            await asyncio.wait(self._opening)

    def _watch(self) -> None:
        self._paused = None
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(error)
                return
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._open(sock))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, sock)
        except OSError as error:
            log.debug("connection lost before it was served error=%s", error)
            sock.close()

    def _accept_failed(self, error: OSError) -> None:
        if self._paused is not None:
            return
        now = self._loop.time()
        if now - self._said_at >= SAY_EVERY:
            self._said_at = now
            level = logging.WARNING if error.errno in EXHAUSTED else logging.ERROR
            log.log(level, "cannot accept, pausing error=%s pause_s=%.2f", error.strerror, PAUSE)
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
        self._paused = self._loop.call_later(PAUSE, self._watch)
