"""What a worker accepts on, with real listeners and both loops: opened, paused, adopted, shut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from pounce.tcp import queue_depth
from pounce.worker.acceptor import make_acceptor
from pounce.worker.door import Door
from tests.support.at_work import (
    BACKLOG,
    LOOPS,
    MakeLoop,
    connected,
    listener,
    polled,
    read,
    run,
)

pytestmark = pytest.mark.parametrize("make_loop", LOOPS)

MakeClient = Callable[[socket.socket], socket.socket]


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined]  # uvloop's are no asyncio.Transport
        transport.close()


@pytest.fixture
def client() -> Iterator[MakeClient]:
    with contextlib.ExitStack() as until_done:
        yield lambda to: until_done.enter_context(connected(to))


def door_to(*own: socket.socket) -> Door:
    loop = asyncio.get_running_loop()
    return Door(
        [os.dup(one.fileno()) for one in own],
        lambda listeners: make_acceptor(loop, listeners, Greeter, backlog=BACKLOG),
    )


def test_who_comes_in_a_pause_waits_and_is_served_after_it(
    make_loop: MakeLoop, client: MakeClient
) -> None:
    async def main() -> None:
        with listener() as own, listener() as second:
            door = door_to(own, second)
            await door.open()
            for each in (own, second):
                assert await read(client(each)) == b"hello"
            await door.pause()
            waiting = [client(own), client(second)]
            await polled()
            assert [queue_depth(own), queue_depth(second)] == [1, 1]
            await door.open()
            for one in waiting:
                assert await read(one) == b"hello"
            await door.shut()

    run(main(), make_loop)


def test_steps_come_in_the_order_in_which_they_were_asked_for(
    make_loop: MakeLoop, client: MakeClient
) -> None:
    async def main() -> None:
        with listener() as own:
            door = door_to(own)
            await asyncio.gather(door.open(), door.pause(), door.open(), door.pause())
            waiting = client(own)
            await polled()
            assert queue_depth(own) == 1
            await asyncio.gather(door.pause(), door.open())
            assert await read(waiting) == b"hello"
            await asyncio.gather(door.shut(), door.open())
            client(own)
            await polled()
            assert queue_depth(own) == 1, "who is shut is not opened again"

    run(main(), make_loop)


def test_the_queue_of_an_adopted_slot_is_served_until_it_is_released(
    make_loop: MakeLoop, client: MakeClient
) -> None:
    async def main() -> None:
        with listener() as own, listener() as other:
            door = door_to(own)
            await door.open()
            waiting = client(other)
            await door.adopt(1, [os.dup(other.fileno())])
            assert await read(waiting) == b"hello"
            await door.release(1)
            late = client(other)
            assert await read(client(own)) == b"hello", "its own goes on"
            assert queue_depth(other) == 1
            await door.release(1)
            await door.adopt(1, [os.dup(other.fileno())])
            assert await read(late) == b"hello"
            await door.shut()
            client(other)
            await polled()
            assert queue_depth(other) == 1, "all is shut"

    run(main(), make_loop)


@pytest.mark.parametrize("when", ["adopted already", "shut"])
def test_what_is_not_adopted_is_closed(make_loop: MakeLoop, when: str) -> None:
    async def main() -> None:
        with listener() as own, listener() as other:
            door = door_to(own)
            await door.open()
            if when == "shut":
                await door.shut()
            else:
                await door.adopt(1, [os.dup(other.fileno())])
            useless = os.dup(other.fileno())
            await door.adopt(1, [useless])
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(useless)
            await door.shut()

    run(main(), make_loop)


def test_what_was_shut_takes_no_more_connections_into_a_queue(make_loop: MakeLoop) -> None:
    async def main() -> None:
        with listener() as own:
            target = own.getsockname()
            door = door_to(own)
            await door.open()
            own.close()  # the door has a copy of its own
            with socket.create_connection(target) as one:
                one.setblocking(False)
                assert await read(one) == b"hello"
            await door.shut()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(target)

    run(main(), make_loop)


def test_a_pause_lets_go_of_what_was_adopted(make_loop: MakeLoop, client: MakeClient) -> None:
    async def main() -> None:
        with listener() as own, listener() as other:
            door = door_to(own)
            await door.open()
            given = os.dup(other.fileno())
            await door.adopt(1, [given])
            await door.pause()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(given)
            await door.open()
            client(other)
            assert await read(client(own)) == b"hello"
            assert queue_depth(other) == 1
            await door.shut()

    run(main(), make_loop)


@pytest.mark.parametrize("for_good", [True, False])
def test_who_waits_at_a_listener_that_will_be_closed_is_let_in_first(
    make_loop: MakeLoop, client: MakeClient, for_good: bool
) -> None:
    async def main() -> None:
        with listener() as own:
            door = door_to(own)
            await door.open()
            waiting = [client(own) for _ in range(40)]  # more than one turn accepts
            await door.shut(for_good=for_good)
            if for_good:
                for one in waiting:
                    assert await read(one) == b"hello"
            else:
                assert queue_depth(own) > 0, "they wait for the next worker"

    run(main(), make_loop)
