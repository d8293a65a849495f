"""Accepting on real sockets with both loops: nothing accepted is lost, nothing spins."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from pounce.worker.acceptor import AT_ONCE, ReaderAcceptor, ServerAcceptor, make_acceptor
from pounce.worker.connection import Connection
from tests.support.transport import make_service
from tests.worker.test_connection import GET, hello

LOOPS = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop.new_event_loop, id="uvloop"),
]
BACKLOG = 64
MakeLoop = Callable[[], asyncio.AbstractEventLoop]


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined]  # uvloop's are no asyncio.Transport
        transport.close()


def listener(path: Path | None = None) -> socket.socket:
    if path is not None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
    else:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
    sock.listen(BACKLOG)
    return sock


def run(main: Any, make_loop: MakeLoop) -> None:
    loop = make_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


async def greeting(sock: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, 100)


def connected(to: socket.socket) -> socket.socket:
    sock = socket.socket(to.family)
    sock.connect(to.getsockname())
    sock.setblocking(False)
    return sock


@pytest.mark.parametrize("make_loop", LOOPS)
@pytest.mark.parametrize("unix", [False, True])
def test_connections_are_served_until_it_stops_and_queue_for_the_next(
    make_loop: MakeLoop, unix: bool, tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listener(tmp_path / "sock" if unix else None) as kept:
            first = make_acceptor(loop, [kept.fileno()], Greeter, backlog=BACKLOG)
            await first.start()
            with connected(kept) as client:
                assert await greeting(client) == b"hello"
            await first.stop()
            with connected(kept) as waiting:
                with pytest.raises(BlockingIOError):
                    waiting.recv(100)
                second = make_acceptor(loop, [kept.fileno()], Greeter, backlog=BACKLOG)
                await second.start()
                assert await greeting(waiting) == b"hello"
                await second.stop()
            os.fstat(kept.fileno())  # the caller's descriptor is still open

    run(main(), make_loop)


@pytest.mark.parametrize("turns", range(5), ids="{} turns of the loop before it".format)
@pytest.mark.parametrize("make_loop", LOOPS)
def test_of_connections_that_come_at_the_stop_none_is_lost(make_loop: MakeLoop, turns: int) -> None:
    made: list[Greeter] = []

    def factory() -> Greeter:
        made.append(Greeter())
        return made[-1]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listener() as kept:
            acceptor = make_acceptor(loop, [kept.fileno()], factory, backlog=BACKLOG)
            await acceptor.start()
            clients = [connected(kept) for _ in range(AT_ONCE + 8)]
            for _ in range(turns):
                await asyncio.sleep(0)
            await acceptor.stop()
            count = len(made)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(made) == count, "who drains must know of all connections there are"
            successor = make_acceptor(loop, [kept.fileno()], Greeter, backlog=BACKLOG)
            await successor.start()
            for client in clients:
                assert await greeting(client) == b"hello"
                client.close()
            await successor.stop()

    run(main(), make_loop)


@pytest.mark.parametrize("make_loop", LOOPS)
def test_clients_that_left_before_they_were_accepted_end_nothing(make_loop: MakeLoop) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        service = make_service(hello)
        with listener() as kept:
            for _ in range(20):
                with connected(kept) as client:
                    client.send(GET)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            acceptor = make_acceptor(
                loop, [kept.fileno()], lambda: Connection(service), backlog=BACKLOG
            )
            await acceptor.start()
            with connected(kept) as client:
                client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                got = b""
                while data := await greeting(client):
                    got += data
                assert got.endswith(b"hello"), "a factory that raises ends uvloop's listener"
            await acceptor.stop()
            while service.connections:
                await asyncio.sleep(0)

    run(main(), make_loop)


def test_a_socket_that_cannot_be_served_is_closed_and_the_next_one_served() -> None:
    first = True

    def factory() -> asyncio.Protocol:
        nonlocal first
        if first:
            first = False
            raise OSError(errno.ENOTCONN, "gone")
        return Greeter()

    async def main() -> None:
        with listener() as kept:
            acceptor = ReaderAcceptor(
                asyncio.get_running_loop(), [kept.fileno()], factory, backlog=BACKLOG
            )
            await acceptor.start()
            with connected(kept) as client:
                assert await greeting(client) == b""
            with connected(kept) as client:
                assert await greeting(client) == b"hello"
            await acceptor.stop()

    run(main(), asyncio.new_event_loop)


def test_a_unix_socket_keeps_its_file_when_one_worker_stops(tmp_path: Path) -> None:
    for make_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        path = tmp_path / make_loop.__module__

        async def main(path: Path) -> None:
            with listener(path) as kept:
                acceptor = make_acceptor(
                    asyncio.get_running_loop(), [kept.fileno()], Greeter, backlog=BACKLOG
                )
                await acceptor.start()
                await acceptor.stop()
                assert path.exists(), "it is the master's, and other workers serve it"

        run(main(path), make_loop)


def test_each_loop_gets_the_acceptor_that_suits_it() -> None:
    for make_loop, kind in (
        (asyncio.new_event_loop, ReaderAcceptor),
        (uvloop.new_event_loop, ServerAcceptor),
    ):
        loop = make_loop()
        assert isinstance(make_acceptor(loop, [], Greeter, backlog=1), kind)
        loop.close()


class Exhausted:
    """A listener that cannot accept until it is let."""

    def __init__(self, kept: socket.socket, error: int) -> None:
        self.sock = kept
        self.error = error
        self.failures = 0

    def accept(self) -> Any:
        if self.error:
            self.failures += 1
            raise OSError(self.error, os.strerror(self.error))
        return self.sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)


@pytest.mark.parametrize(
    ("error", "level"), [(errno.EMFILE, logging.WARNING), (errno.EINVAL, logging.ERROR)]
)
def test_an_acceptor_that_cannot_accept_pauses_and_tries_again(
    error: int, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listener() as kept, connected(kept) as client:
            acceptor = ReaderAcceptor(loop, [kept.fileno()], Greeter, backlog=BACKLOG)
            await acceptor.start()
            broken = Exhausted(acceptor._sockets[0], error)
            loop.remove_reader(broken.fileno())
            acceptor._sockets = [broken]  # type: ignore[list-item]  # stands for the socket
            acceptor._watch()
            while not broken.failures:
                await asyncio.sleep(0)
            assert acceptor._paused is not None
            for _ in range(50):  # while it pauses the listener is readable, and nobody looks
                await asyncio.sleep(0)
            assert broken.failures == 1
            broken.error = 0
            assert await greeting(client) == b"hello"
            await acceptor.stop()

    run(main(), asyncio.new_event_loop)
    assert [record.levelno for record in caplog.records] == [level]


def test_stopping_while_it_pauses_ends_the_pause() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listener() as kept:
            acceptor = ReaderAcceptor(loop, [kept.fileno()], Greeter, backlog=BACKLOG)
            await acceptor.start()
            acceptor._accept_failed(OSError(errno.EMFILE, "too many"))
            acceptor._accept_failed(OSError(errno.EMFILE, "too many"))
            timer = acceptor._paused
            await acceptor.stop()
            assert timer is not None
            assert timer.cancelled()

    run(main(), asyncio.new_event_loop)
