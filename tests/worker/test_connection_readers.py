"""Who reads an answer and who has stopped, over real TCP: what the peer took is what counts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from pounce.asgi import Receive, Scope, Send
from pounce.worker.connection import Connection
from pounce.worker.http_stream import ClientDisconnected
from pounce.worker.service import Service, Timeouts
from pounce.worker.taken import progress, untaken
from pounce.worker.wire.waiting import Waiting
from tests.support.transport import MemoryTransport, make_service, settle
from tests.worker.test_connection import GET, hello

HUNG = 30.0  # seconds: nothing here takes one
LIMIT = 5.0  # write_timeout, on a clock that only sweep() moves
SMALL = 4096  # bytes of a socket's buffer, where it must fill soon

both_loops = pytest.mark.parametrize(
    "make_loop",
    [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ],
)
MakeLoop = Callable[[], asyncio.AbstractEventLoop]


class Stream:
    """A client that has asked for a stream, and the stream, which the test writes.

    Attributes:
        ended: what ended the application.
    """

    def __init__(self, service: Service, client: socket.socket, server: socket.socket) -> None:
        self.service = service
        self.client = client
        self.server = server
        self.ended: BaseException | None = None
        self._parts: asyncio.Queue[bytes] = asyncio.Queue()
        self._written = 0
        self._asked = 0

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                part = await self._parts.get()
                await send({"type": "http.response.body", "body": part, "more_body": True})
                self._written += 1
        except BaseException as error:
            self.ended = error
            raise

    async def begin(self) -> None:
        _, self.connection = await self.service.loop.connect_accepted_socket(
            lambda: Connection(self.service), self.server
        )
        self.transport = self.connection._transport
        await self.service.loop.sock_sendall(self.client, GET)

    def put(self, part: bytes) -> None:
        self._asked += 1
        self._parts.put_nowait(part)

    async def write(self, size: int) -> None:
        self.put(b"x" * size)
        await self.until(lambda: self._written == self._asked)
        await settle()  # it is held up to the end of the turn

    async def read(self, size: int) -> None:
        async with asyncio.timeout(HUNG):
            while size:
                size -= len(await self.service.loop.sock_recv(self.client, size))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(HUNG):
            while not condition():  # turns of the loop are what is waited for
                await asyncio.sleep(0)

    def sweep(self) -> None:
        self.service.clock.now += 1.0
        self.connection.sweep(self.service.clock.now)


def played(
    story: Callable[[Stream], Awaitable[None]], make_loop: MakeLoop, *, send_buffer: int = 0
) -> None:
    async def main() -> None:
        service = make_service(hello, timeouts=Timeouts(0, 0, 0, 0, 0, LIMIT))
        with socket.socket() as listener, socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client.connect(listener.getsockname())
            client.setblocking(False)
            server, _ = listener.accept()
            if send_buffer:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            stream = Stream(service, client, server)
            service.app = stream.app
            await stream.begin()
            await story(stream)
        await stream.until(lambda: not service.connections)
        for task in service.running.values():
            task.cancel()
        await stream.until(lambda: not service.running)

    loop = make_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@both_loops
def test_more_being_written_is_no_sign_that_somebody_reads(make_loop: MakeLoop) -> None:
    async def story(stream: Stream) -> None:
        while not stream.transport.get_write_buffer_size():
            await stream.write(2000)
        for _ in range(30):
            await stream.write(100)
            stream.sweep()
            if stream.transport.is_closing():
                break
        assert stream.transport.is_closing()
        await stream.until(lambda: not stream.service.connections)
        stream.put(b"x")
        await stream.until(lambda: stream.ended)
        assert isinstance(stream.ended, ClientDisconnected)

    played(story, make_loop, send_buffer=SMALL)


@both_loops
def test_who_reads_as_fast_as_is_written_is_kept_though_as_much_is_always_left(
    make_loop: MakeLoop,
) -> None:
    async def story(stream: Stream) -> None:
        while not stream.transport.get_write_buffer_size():
            await stream.write(2000)
        before = stream.transport.get_write_buffer_size()
        for _ in range(20):
            await stream.read(8000)
            await stream.write(8000)
            stream.sweep()
            assert stream.connection._waiting is Waiting.READER
        assert not stream.transport.is_closing()
        assert stream.transport.get_write_buffer_size() < before + 3 * 8000

    played(story, make_loop, send_buffer=SMALL)


@both_loops
def test_a_slow_stream_that_the_kernel_holds_is_not_held_for_ever(make_loop: MakeLoop) -> None:
    async def story(stream: Stream) -> None:
        while not untaken(stream.transport):
            await stream.write(2000)
        for _ in range(30):
            assert not stream.transport.get_write_buffer_size()
            stream.sweep()
            if stream.transport.is_closing():
                break
        assert stream.transport.is_closing()

    played(story, make_loop)


@both_loops
def test_a_stream_that_is_read_may_be_as_slow_as_it_likes(make_loop: MakeLoop) -> None:
    async def story(stream: Stream) -> None:
        for _ in range(3):
            await stream.write(500)
            await stream.until(lambda: not untaken(stream.transport))
            for _ in range(2 * int(LIMIT)):
                stream.sweep()
                assert stream.connection._waiting is Waiting.APP
        assert not stream.transport.is_closing()

    played(story, make_loop)


def test_where_nobody_counts_what_was_taken_any_change_is_progress() -> None:
    transport = MemoryTransport()
    assert progress(transport, 1) != progress(transport, 2)
    assert progress(transport, 1) == progress(transport, 1)


@both_loops
def test_nothing_is_asked_of_a_socket_that_is_closed(make_loop: MakeLoop) -> None:
    async def story(stream: Stream) -> None:
        await stream.write(500)
        stream.transport.abort()
        await stream.until(lambda: not stream.service.connections)
        assert untaken(stream.transport) == 0
        assert progress(stream.transport, 7) == (7, 0)

    played(story, make_loop)
