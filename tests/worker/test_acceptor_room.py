"""Accepting near the limit of descriptors: clients wait, and are served once there is room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource

import pytest
import uvloop

from pounce.worker.acceptor import Room, ServerAcceptor
from tests.worker.test_acceptor import BACKLOG, Greeter, connected, greeting, listener, run


def test_room_is_found_out_before_the_last_descriptor_is_taken() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listener() as kept:
        lowest = os.dup(kept.fileno())
        taken = [lowest]
        try:
            limit = lowest
            free = 0
            while free < 20:  # whatever else this process holds open above
                free += not os.path.exists(f"/dev/fd/{limit}")
                limit += 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(32, limit), hard))
            room = Room(kept.fileno())
            while room.left():
                taken.append(os.dup(kept.fileno()))
            assert len(taken) > 10
            taken.append(os.dup(kept.fileno()))  # for the application
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(kept.fileno()))
            assert not room.left()
            os.close(taken.pop(0))
            assert room.left()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)


class NoRoom:
    """Stands for Room, as full as a test likes."""

    def __init__(self) -> None:
        self.full = True
        self.asked = 0

    def left(self, besides: int = 0) -> bool:
        self.asked += 1
        return not self.full


@pytest.mark.parametrize("failures", [0, 1])
def test_near_the_limit_of_descriptors_clients_wait_in_the_queue(
    failures: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listener() as kept, connected(kept) as first:
            acceptor = ServerAcceptor(loop, [kept.fileno()], Greeter, backlog=BACKLOG)
            await acceptor.start()
            room = NoRoom()
            acceptor._room = room  # type: ignore[assignment]
            assert await greeting(first) == b"hello"
            while acceptor._servers:
                await asyncio.sleep(0)
            with connected(kept) as second:
                asked = room.asked
                while room.asked == asked:  # it is looked at again, without a busy loop
                    await asyncio.sleep(0)
                with pytest.raises(BlockingIOError):
                    second.recv(100)
                acceptor._listeners = [*[-1] * failures, kept.fileno()]
                room.full = False
                while failures and acceptor._opening is None:
                    await asyncio.sleep(0)
                acceptor._listeners = [kept.fileno()]
                assert await greeting(second) == b"hello"
            await acceptor.stop()

    run(main(), uvloop.new_event_loop)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept, pausing error=few descriptors are left pause_s=0.25"
    ]


class Stayer(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(b"hello")  # type: ignore[attr-defined]  # uvloop's are no asyncio.Transport


def test_while_clients_stay_no_pause_lets_one_more_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pounce.worker.acceptor.PAUSE", 0.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Stayer] = []

        def factory() -> Stayer:
            made.append(Stayer())
            return made[-1]

        with listener() as kept, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(kept)) for _ in range(30)]
            os.close(lowest := os.dup(kept.fileno()))
            acceptor = ServerAcceptor(loop, [kept.fileno()], factory, backlog=BACKLOG)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 20, hard))
            go_on, pauses = acceptor._go_on, 0

            def counted() -> None:
                nonlocal pauses
                pauses += 1
                go_on()

            acceptor._go_on = counted  # type: ignore[method-assign]
            try:
                await acceptor.start()
                while not pauses:
                    await asyncio.sleep(0)
                before = len(made), pauses
                for _ in range(500):
                    await asyncio.sleep(0)
                after = len(made), pauses
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                acceptor._room = None  # it knows the lower limit
            greetings = [await greeting(client) for client in clients]
            await acceptor.stop()
            for one in made:
                one.transport.close()
            assert set(greetings) == {b"hello"}, "nobody was closed for want of descriptors"
            assert after[0] == before[0] < 20
            assert after[1] > before[1] + 30, "it looked that often"

    run(main(), uvloop.new_event_loop)


def test_a_pause_near_the_limit_ends_with_the_acceptor() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listener() as kept:
            acceptor = ServerAcceptor(loop, [kept.fileno()], Greeter, backlog=BACKLOG)
            await acceptor.start()
            acceptor._pause()
            timer = acceptor._paused
            acceptor._opening = loop.create_task(acceptor._reopen())
            await acceptor.stop()
            assert timer is not None
            assert timer.cancelled()
            assert not acceptor._servers

    run(main(), uvloop.new_event_loop)
