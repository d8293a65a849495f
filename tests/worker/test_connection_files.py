"""A connection over real sockets, with both loops: files by the kernel, and who leaves them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import uvloop

from pounce.asgi import Message, Receive, Scope, Send
from pounce.worker.connection import Connection
from pounce.worker.http_stream import ClientDisconnected
from pounce.worker.service import Service, Timeouts
from pounce.worker.wire import ResponseError
from pounce.worker.wire.waiting import Waiting
from tests.support.transport import make_service
from tests.worker.test_connection import GET

CONTENT = bytes(range(256)) * 8192  # 2 MiB, more than a socket takes at once
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PART: Message = {"type": "http.response.zerocopysend", "count": len(CONTENT), "more_body": True}

HUNG = 30.0  # seconds: nothing here takes one

both_loops = pytest.mark.parametrize(
    "make_loop",
    [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ],
)
MakeLoop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


class Pair:
    """A connection at one end of a socket pair; the test at the other.

    Attributes:
        seen: what the application's send() raised, one for each request.
    """

    def __init__(self, path: Path, *, timeouts: Timeouts) -> None:
        self.seen: list[BaseException | None] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(START)
            try:
                await send({"type": "http.response.pathsend", "path": str(path)})
            except OSError as error:
                self.seen.append(error)
                raise
            self.seen.append(None)

        self.service: Service = make_service(app, timeouts=timeouts)
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)

    async def open(self) -> Connection:
        _, connection = await self.service.loop.connect_accepted_socket(
            lambda: Connection(self.service), self.ours
        )
        return connection

    async def send(self, data: bytes) -> None:
        await self.service.loop.sock_sendall(self.theirs, data)

    async def receive(self, size: int = 1 << 30) -> bytes:
        """Up to `size` bytes; fewer at the end."""
        got = b""
        async with asyncio.timeout(HUNG):
            while len(got) < size and (
                data := await self.service.loop.sock_recv(self.theirs, min(65536, size - len(got)))
            ):
                got += data
        return got

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(HUNG):
            while not condition():  # turns of the loop are what is waited for
                await asyncio.sleep(0)


def descriptors_of(inode: int) -> list[int]:
    """Where a socket is still open in this process; the kernel's duplicate is one too."""
    found = []
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them
            if os.readlink(entry.path) == f"socket:[{inode}]":
                found.append(int(entry.name))
    return found


def played(
    story: Callable[[Pair], Awaitable[None]],
    path: Path,
    make_loop: MakeLoop,
    timeouts: Timeouts | None = None,
) -> None:
    async def main() -> None:
        pair = Pair(path, timeouts=timeouts or Timeouts())
        inode = os.fstat(pair.ours.fileno()).st_ino
        try:
            await story(pair)
        finally:
            pair.theirs.close()
        await pair.until(lambda: not pair.service.connections)
        await pair.until(lambda: not descriptors_of(inode))
        assert not pair.service.running

    loop = make_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def size_of(head: bytes) -> int:
    fields: dict[bytes, Any] = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(fields[b"content-length"])


@both_loops
def test_files_follow_each_other_on_one_connection(path: Path, make_loop: MakeLoop) -> None:
    async def story(pair: Pair) -> None:
        connection = await pair.open()
        await pair.send(GET + GET)
        for _ in range(2):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await pair.receive(1)
            assert size_of(head[:-4]) == len(CONTENT)
            assert await pair.receive(len(CONTENT)) == CONTENT
        await pair.until(lambda: pair.seen == [None, None])
        assert connection._file is None

    played(story, path, make_loop)


@both_loops
def test_a_client_that_leaves_in_the_middle_frees_everything(
    path: Path, make_loop: MakeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(pair: Pair) -> None:
        connection = await pair.open()
        await pair.send(GET)
        await pair.receive(100_000)
        await pair.until(lambda: connection._file is not None and connection._file._wait)
        pair.theirs.close()
        await pair.until(lambda: pair.seen)
        assert isinstance(pair.seen[0], ClientDisconnected)

    played(story, path, make_loop)
    assert not caplog.records, "a client that leaves is no error of the application's"


@both_loops
def test_a_client_that_stops_reading_a_file_is_given_up(path: Path, make_loop: MakeLoop) -> None:
    async def story(pair: Pair) -> None:
        connection = await pair.open()
        await pair.send(GET)
        await pair.until(lambda: connection._file is not None and connection._file._wait)
        connection.sweep(1.0)
        assert connection._waiting is Waiting.READER
        assert await pair.receive(500_000)
        await pair.until(lambda: connection._file is not None and connection._file._wait)
        connection.sweep(5.9)  # it has read in between
        connection.sweep(10.8)
        assert not pair.seen
        connection.sweep(11.0)
        await pair.until(lambda: pair.seen)
        assert isinstance(pair.seen[0], ClientDisconnected)

    played(story, path, make_loop, Timeouts(0, 0, 0, 0, 0, 5))


@both_loops
def test_a_file_waits_for_what_was_written_before_it(path: Path, make_loop: MakeLoop) -> None:
    first = b"x" * 1_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        length = b"%d" % (len(first) + len(CONTENT))
        await send({**START, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        await send({"type": "http.response.pathsend", "path": str(path)})

    async def story(pair: Pair) -> None:
        pair.service.app = app
        await pair.open()
        await pair.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = await pair.receive()
        assert answer.partition(b"\r\n\r\n")[2] == first + CONTENT

    played(story, path, make_loop)


@both_loops
def test_a_client_that_leaves_before_the_file_is_begun_ends_the_wait(
    path: Path, make_loop: MakeLoop
) -> None:
    seen: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"%d" % (len(CONTENT) + 30_000))]})
        try:
            await send({"type": "http.response.body", "body": b"x" * 30_000, "more_body": True})
            await send({"type": "http.response.pathsend", "path": str(path)})
        except OSError as error:
            seen.append(error)
            raise

    async def story(pair: Pair) -> None:
        pair.service.app = app
        connection = await pair.open()
        pair.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await pair.send(GET)
        await pair.until(lambda: connection._room is not None)
        pair.theirs.close()
        await pair.until(lambda: seen)
        assert isinstance(seen[0], ClientDisconnected)

    played(story, path, make_loop)


async def past_the_end(file: BinaryIO, send: Send) -> None:
    with contextlib.suppress(ResponseError):
        await send({**PART, "file": file, "offset": 10})


async def cancelled(file: BinaryIO, send: Send) -> None:
    sending = asyncio.ensure_future(send({**PART, "file": file}))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])


async def not_awaited(file: BinaryIO, send: Send) -> None:
    asyncio.ensure_future(send({**PART, "file": file}))  # noqa: RUF006  # what is wrong with it
    await asyncio.sleep(0)


@both_loops
@pytest.mark.parametrize("way", [past_the_end, cancelled, not_awaited])
def test_a_file_that_is_not_sent_whole_can_not_be_ended_as_if_it_were(
    way: Callable[[BinaryIO, Send], Awaitable[None]], path: Path, make_loop: MakeLoop
) -> None:
    asked: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["method"])
        await send({**START, "headers": [(b"content-length", b"%d" % len(CONTENT))]})
        with path.open("rb") as file:
            await way(file, send)
            await send({"type": "http.response.body", "body": b""})

    async def story(pair: Pair) -> None:
        pair.service.app = app
        await pair.open()
        await pair.send(GET + GET)
        with contextlib.suppress(ConnectionError):  # or it just ends
            answer = await pair.receive()
            assert len(answer.partition(b"\r\n\r\n")[2]) < len(CONTENT)
        assert asked == ["GET"], "the second answer would be read as the rest of the first"

    played(story, path, make_loop)
