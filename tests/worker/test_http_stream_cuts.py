"""Over real TCP, what the client sees of a response that is broken off: never a whole one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest
import uvloop

from pounce.asgi import App, Message, Receive, Scope, Send
from pounce.worker.connection import Connection
from pounce.worker.service import Timeouts
from tests.support.transport import make_service

HUNG: Final = 30.0  # seconds: nothing here takes one
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PART: Message = {"type": "http.response.body", "body": b"part", "more_body": True}
LAST: Message = {"type": "http.response.body", "body": b"last"}

Story = Callable[["Client"], Awaitable[None]]

both_loops = pytest.mark.parametrize(
    "make_loop",
    [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ],
)
both_versions = pytest.mark.parametrize("version", [b"1.0", b"1.1"], ids=bytes.decode)
MakeLoop = Callable[[], asyncio.AbstractEventLoop]


class Client:
    """A client that has asked, and what it has got."""

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self.socket = sock
        self.connection = connection
        self.got = b""

    async def ask(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read_up_to(self, what: bytes) -> None:
        while what not in self.got:
            self.got += await self._read() or pytest.fail(f"closed after {self.got!r}")

    async def end(self) -> str:
        """Reads on until the connection has ended."""
        try:
            while data := await self._read():
                self.got += data
        except ConnectionResetError:
            return "reset"
        return "closed"

    async def _read(self) -> bytes:
        async with asyncio.timeout(HUNG):
            return await asyncio.get_running_loop().sock_recv(self.socket, 65536)


@asynccontextmanager
async def connected(app: App, timeouts: Timeouts) -> AsyncIterator[Client]:
    service = make_service(app, timeouts=timeouts)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as ours:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await service.loop.sock_connect(ours, listener.getsockname())
        theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        _, connection = await service.loop.connect_accepted_socket(
            lambda: Connection(service), theirs
        )
        yield Client(ours, connection)
        async with asyncio.timeout(HUNG):
            while service.connections or service.running:
                await asyncio.sleep(0)


def play(app: App, story: Story, make_loop: MakeLoop, *, timeouts: Timeouts | None = None) -> None:
    async def main() -> None:
        async with connected(app, timeouts or Timeouts()) as client:
            await story(client)

    loop = make_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(PART)
    raise ValueError("in the middle")


async def returns(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(PART)


async def waits(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(PART)
    await asyncio.Event().wait()


async def until_gone(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(PART)
    while (await receive())["type"] != "http.disconnect":
        pass


async def whole(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(PART)
    await send(LAST)


def cancel(connection: Connection) -> None:
    for task in connection._service.running.values():
        task.cancel()


BREAKS: Final[dict[str, tuple[App, Callable[[Connection], object]]]] = {
    "the application raised": (raises, lambda connection: None),
    "the application returned": (returns, lambda connection: None),
    "it was cancelled": (waits, cancel),
    "a drain ended": (until_gone, lambda connection: connection.cut("time is over")),
    "its request was refused": (until_gone, lambda connection: connection._wire.refuse(408, "")),
}


@both_loops
@both_versions
@pytest.mark.parametrize("what", BREAKS)
def test_a_part_of_a_response_is_not_taken_for_the_whole(
    what: str, version: bytes, make_loop: MakeLoop
) -> None:
    app, then = BREAKS[what]

    async def story(client: Client) -> None:
        await client.ask(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
        await client.read_up_to(b"part")
        then(client.connection)
        end = await client.end()
        assert client.got.endswith(b"part" if version == b"1.0" else b"part\r\n")
        assert end == ("reset" if version == b"1.0" else "closed"), "chunks tell it without a RST"

    play(app, story, make_loop)


@both_loops
def test_a_whole_response_that_is_ended_by_closing_is_closed(make_loop: MakeLoop) -> None:
    async def story(client: Client) -> None:
        await client.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert await client.end() == "closed"
        assert client.got.endswith(b"\r\n\r\npartlast")

    play(whole, story, make_loop)


@both_loops
@pytest.mark.parametrize("upload", [b"", b"Content-Length: 9\r\n"], ids=["closing", "lingering"])
def test_a_whole_response_that_was_never_read_to_its_end_is_reset(
    upload: bytes, make_loop: MakeLoop
) -> None:
    async def finishing(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(PART)
        await send({**LAST, "body": b"x" * 60_000})

    async def story(client: Client) -> None:
        await client.ask(b"GET / HTTP/1.0\r\n%b\r\n" % upload)
        connection = client.connection
        while not connection._transport.get_write_buffer_size():
            await asyncio.sleep(0)
        connection.sweep(0.0)
        connection.sweep(10.0)
        assert await client.end() == "reset"
        assert len(client.got) < 60_000

    play(finishing, story, make_loop, timeouts=Timeouts(write_timeout=5.0))
