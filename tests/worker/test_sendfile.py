"""Files through the kernel: real sockets, a reader that stops, and files that change."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pounce.worker.sendfile import FileSender, FileSource, open_descriptor, open_path
from pounce.worker.wire import ResponseError

CONTENT = os.urandom(3_000_000)


def loops() -> list[Any]:
    import uvloop

    return [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def run(
    main: Any, make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> Any:
    loop = make_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


async def receive(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    got = b""
    while len(got) < size and (data := await loop.sock_recv(sock, 65536)):
        got += data
    return got


@pytest.mark.parametrize("make_loop", loops())
def test_all_of_a_file_arrives_though_the_socket_is_full_now_and_then(
    make_loop: Callable[[], asyncio.AbstractEventLoop], path: Path
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, open_path(str(path)) as source:
            ours.setblocking(False)
            theirs.setblocking(False)
            sender = FileSender(asyncio.get_running_loop(), source)
            sending = asyncio.ensure_future(sender.run(ours.fileno()))
            assert await receive(theirs, len(CONTENT)) == CONTENT
            await sending
            assert sender.sent == len(CONTENT)

    run(main(), make_loop)


def refuse_sendfile(sock: socket.socket) -> None:
    """Makes sendfile(2) fail with EINVAL: it writes to no descriptor that has O_APPEND."""
    flags = fcntl.fcntl(sock, fcntl.F_GETFL)
    fcntl.fcntl(sock, fcntl.F_SETFL, flags | os.O_APPEND)


@pytest.mark.parametrize("make_loop", loops())
def test_where_the_kernel_does_not_send_files_they_are_read_and_written(
    make_loop: Callable[[], asyncio.AbstractEventLoop], path: Path
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, path.open("rb") as file:
            ours.setblocking(False)
            theirs.setblocking(False)
            refuse_sendfile(ours)
            with pytest.raises(OSError, match="Invalid"):
                os.sendfile(ours.fileno(), file.fileno(), 0, 1)
            source = open_descriptor(file, 1000, None)
            sender = FileSender(asyncio.get_running_loop(), source)
            sending = asyncio.ensure_future(sender.run(ours.fileno()))
            while sender._wait is None:  # the socket is full, and is waited for
                await asyncio.sleep(0)
            assert await receive(theirs, source.size) == CONTENT[1000:]
            await sending
            assert sender.sent == source.size

    run(main(), make_loop)


def test_a_file_that_is_read_and_written_may_become_shorter_or_lose_its_reader(path: Path) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, open_path(path) as source:
            ours.setblocking(False)
            refuse_sendfile(ours)
            os.truncate(path, 10)
            with pytest.raises(ResponseError, match="ended 2999990 bytes early"):
                await FileSender(asyncio.get_running_loop(), source).run(ours.fileno())
            theirs.close()
            with pytest.raises(OSError, match=r"pipe|reset"):
                await FileSender(asyncio.get_running_loop(), source).run(ours.fileno())

    run(main())


def test_an_error_in_the_middle_is_not_taken_for_a_lack_of_sendfile(path: Path) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, open_path(path) as source:
            ours.setblocking(False)
            sender = FileSender(asyncio.get_running_loop(), source)
            sending = asyncio.ensure_future(sender.run(ours.fileno()))
            while sender._wait is None:
                await asyncio.sleep(0)
            refuse_sendfile(ours)
            theirs.recv(1 << 20)
            with pytest.raises(OSError, match="Invalid"):
                await sending

    run(main())


@pytest.mark.parametrize("make_loop", loops())
def test_a_sender_that_waits_for_a_reader_can_be_stopped(
    make_loop: Callable[[], asyncio.AbstractEventLoop], path: Path
) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, open_path(str(path)) as source:
            ours.setblocking(False)
            sender = FileSender(asyncio.get_running_loop(), source)
            sending = asyncio.ensure_future(sender.run(ours.fileno()))
            while sender._wait is None:
                await asyncio.sleep(0)
            assert 0 < sender.sent < len(CONTENT)
            sender.stop()
            await sending

    run(main(), make_loop)


def test_a_reader_that_has_gone_is_an_oserror(path: Path) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, open_path(str(path)) as source:
            ours.setblocking(False)
            theirs.close()
            with pytest.raises(OSError, match=r"pipe|reset"):
                await FileSender(asyncio.get_running_loop(), source).run(ours.fileno())

    run(main())


def test_a_file_that_has_become_shorter_is_said(path: Path) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, open_path(str(path)) as source:
            ours.setblocking(False)
            os.truncate(path, 10)
            with pytest.raises(ResponseError, match="ended 2999990 bytes early"):
                await FileSender(asyncio.get_running_loop(), source).run(ours.fileno())

    run(main())


def test_pieces_are_the_same_bytes_and_a_shorter_file_is_said(path: Path) -> None:
    with open_path(path) as source:
        assert b"".join(source.pieces()) == CONTENT
    with open_path(path) as source:
        os.truncate(path, 70_000)
        with pytest.raises(ResponseError, match="bytes early"):
            list(source.pieces())


def test_offset_and_count_choose_a_part_and_the_descriptor_stays_the_applications(
    path: Path,
) -> None:
    with path.open("rb") as file:
        file.seek(100)
        for offset, count, expected in [
            (None, None, CONTENT[100:]),
            (5, None, CONTENT[5:]),
            (None, 7, CONTENT[100:107]),
            (5, 7, CONTENT[5:12]),
            (len(CONTENT) + 5, None, b""),
        ]:
            with open_descriptor(file, offset, count) as source:
                assert b"".join(source.pieces()) == expected
        with open_descriptor(file.fileno(), 0, 3) as source:
            assert b"".join(source.pieces()) == CONTENT[:3]
        assert file.read(1) == CONTENT[100:101]


def test_a_path_must_be_absolute(path: Path) -> None:
    with pytest.raises(ResponseError, match="absolute"):
        open_path(path.name)


def test_a_path_must_be_a_regular_file_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/proc/self/fd")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(ResponseError, match="is no regular file"):
            open_path(path)
    assert os.listdir("/proc/self/fd") == before


def test_an_owned_descriptor_is_closed(path: Path) -> None:
    with open_path(str(path)) as source:
        descriptor = source.descriptor
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)
    assert isinstance(source, FileSource)
