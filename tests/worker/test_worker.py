"""What a worker does upon each word of its master, over a real channel, with both loops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from pounce import ipc
from pounce.asgi import Receive, Scope, Send
from pounce.ipc import BUSY_BEAT_S
from pounce.tcp import queue_depth
from pounce.worker.connection import Connection
from pounce.worker.heartbeats import IDLE_BEAT
from pounce.worker.lifespan import Lifespan
from pounce.worker.service import Service
from tests.support.at_work import (
    HUNG,
    LOOPS,
    MakeLoop,
    MasterEnd,
    at_work,
    connected,
    listener,
    polled,
    read,
    run,
    until,
)
from tests.support.transport import connect, make_service
from tests.worker.test_connection import GET, hello

both_loops = pytest.mark.parametrize("make_loop", LOOPS)
OFF = "off"


class Clients:
    """Makes clients."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    def __call__(self, to: socket.socket) -> socket.socket:
        return self._open.enter_context(connected(to))

    def leave(self) -> None:
        """All of them, so that a drain need not wait for another request."""
        self._open.close()


@pytest.fixture
def client() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    clients.leave()


async def answer(client: socket.socket) -> bytes:
    """What comes for a request, up to the end of its body."""
    data = b""
    while not data.endswith((b"hello", b"hello\r\n0\r\n\r\n")):
        piece = await read(client)
        assert piece, f"it ended after {data!r}"
        data += piece
    return data


async def ask(client: socket.socket) -> bytes:
    client.send(GET)
    return await answer(client)


async def nothing_is_accepted(at: socket.socket, client: Clients) -> socket.socket:
    """Connects until one is left waiting, and gives that one; those before were served."""
    async with asyncio.timeout(HUNG):
        while True:
            one = client(at)
            await polled()
            if queue_depth(at):
                return one
            await ask(one)


@both_loops
def test_a_paused_worker_serves_who_is_there_and_lets_others_wait(
    make_loop: MakeLoop, client: Clients
) -> None:
    async def main() -> None:
        service = make_service(hello)
        with listener() as own:
            lifespan = Lifespan(hello, mode=OFF)
            async with at_work(service, lifespan, listeners=[own]) as master:
                kept = client(own)
                assert b"connection: close" not in (await ask(kept)).lower()
                master.say(ipc.Pause())
                waiting = await nothing_is_accepted(own, client)
                assert b"connection: close" not in (await ask(kept)).lower()
                master.say(ipc.Go())
                await master.hear(ipc.Accepting)
                await ask(waiting)
                master.say(ipc.Pause(), ipc.Drain("reload", 20.0))
                assert (await master.hear(ipc.Draining)).http >= 2
                client.leave()
                await master.hear(ipc.Drained)

    run(main(), make_loop)


@both_loops
def test_a_lame_duck_accepts_and_lets_every_answer_be_the_last(
    make_loop: MakeLoop, client: Clients
) -> None:
    async def main() -> None:
        service = make_service(hello)
        with listener() as own:
            lifespan = Lifespan(hello, mode=OFF)
            async with at_work(service, lifespan, listeners=[own]) as master:
                kept = client(own)
                await ask(kept)
                master.say(ipc.LameDuck())
                await until(lambda: service.draining)
                for one in (kept, client(own), client(own)):
                    assert b"connection: close\r\n" in (await ask(one)).lower()
                    assert await read(one) == b""
                client.leave()
                master.say(ipc.Drain("exit", 20.0))
                await master.hear(ipc.Drained)

    run(main(), make_loop)


@both_loops
def test_another_slots_queue_is_served_between_adopt_and_release(
    make_loop: MakeLoop, client: Clients
) -> None:
    async def main() -> None:
        service = make_service(hello)
        with listener() as own, listener() as other:
            lifespan = Lifespan(hello, mode=OFF)
            async with at_work(service, lifespan, listeners=[own]) as master:
                first, second = client(other), client(other)
                master.say(ipc.Adopt(1), descriptors=[other.fileno()])
                assert await ask(first)
                master.say(ipc.Release(1))
                await nothing_is_accepted(other, client)
                assert await ask(second), "what was accepted there is served on"
                assert await ask(client(own))
                client.leave()
                master.say(ipc.Drain("exit", 20.0))
                await master.hear(ipc.Drained)

    run(main(), make_loop)


def test_descriptors_belong_to_the_adopt_that_they_came_with(client: Clients) -> None:
    async def main() -> None:
        service = make_service(hello)
        with listener() as own, listener() as other:
            lifespan = Lifespan(hello, mode=OFF)
            async with at_work(service, lifespan, listeners=[own]) as master:
                words = (ipc.Pause(), ipc.Go(), ipc.Adopt(3), ipc.LameDuck())
                master.say(*words, descriptors=[other.fileno()])
                await master.hear(ipc.Accepting)
                assert await ask(client(other))
                assert await ask(client(own))
                client.leave()
                master.say(ipc.Drain("exit", 20.0))
                await master.hear(ipc.Drained)

    run(main(), asyncio.new_event_loop)


@both_loops
@pytest.mark.parametrize("reason", ["exit", "scale"])
def test_a_drained_worker_leaves_who_waits_to_the_next_unless_there_will_be_none(
    make_loop: MakeLoop, client: Clients, reason: str
) -> None:
    async def main() -> None:
        service = make_service(hello)
        with listener() as own:
            lifespan = Lifespan(hello, mode=OFF)
            async with at_work(service, lifespan, listeners=[own]) as master:
                waiting = [client(own) for _ in range(40)]
                for one in waiting:
                    one.send(GET)
                master.say(ipc.Drain(reason, 20.0))
                if reason == "scale":
                    for one in waiting:
                        await answer(one)
                    client.leave()
                await master.hear(ipc.Drained)
                assert bool(queue_depth(own)) is (reason == "exit")

    run(main(), make_loop)


def gated() -> tuple[asyncio.Event, Callable[[Scope, Receive, Send], object]]:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    return gate, app


async def beat_with(master: MasterEnd, **values: object) -> ipc.Heartbeat:
    """The next heartbeat that says so."""
    async with asyncio.timeout(HUNG):
        while True:
            one = await master.hear(ipc.Heartbeat)
            if all(getattr(one, name) == value for name, value in values.items()):
                return one


@both_loops
def test_heartbeats_say_what_is_done_and_promise_the_next_one_sooner_while_there_is_work(
    make_loop: MakeLoop, client: Clients
) -> None:
    assert (BUSY_BEAT_S, IDLE_BEAT) == (0.25, 1.0)

    async def main() -> None:
        gate, app = gated()
        service = make_service(app)  # type: ignore[arg-type]
        with listener() as own:
            lifespan = Lifespan(app, mode=OFF)  # type: ignore[arg-type]
            async with at_work(service, lifespan, listeners=[own]) as master:
                idle = await beat_with(master, next_s=IDLE_BEAT)
                assert (idle.connections, idle.accepted, idle.in_flight) == (0, 0, 0)
                assert idle.memory > 1 << 20
                one, other = client(own), client(own)
                one.send(GET)
                busy = await beat_with(master, in_flight=1, accepted=2)
                assert busy.next_s == BUSY_BEAT_S
                assert (busy.connections, busy.requests) == (2, 0)
                gate.set()
                await answer(one)
                other.close()
                done = await beat_with(master, requests=1, connections=1)
                assert done.in_flight == 0
                # Nothing more comes of it: the next promise is the long one.
                last = await beat_with(master, next_s=IDLE_BEAT)
                assert (last.requests, last.accepted) == (1, 2)
                client.leave()
                master.say(ipc.Drain("exit", 20.0))
                await master.hear(ipc.Drained)

    run(main(), make_loop)


@both_loops
def test_the_first_client_after_a_pause_brings_the_heartbeat_forward(
    make_loop: MakeLoop, client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pounce.worker.heartbeats.IDLE_BEAT", 10 * HUNG)

    async def main() -> None:
        service = make_service(hello)
        with listener() as own:
            lifespan = Lifespan(hello, mode=OFF)
            async with at_work(service, lifespan, listeners=[own]) as master:
                await beat_with(master, next_s=10 * HUNG)
                client(own)
                await beat_with(master, next_s=BUSY_BEAT_S)
                client.leave()
                master.say(ipc.Drain("exit", 20.0))
                await master.hear(ipc.Drained)

    run(main(), make_loop)


@both_loops
def test_a_worker_whose_master_is_gone_says_why_and_goes(
    make_loop: MakeLoop, client: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        service = make_service(hello)
        with listener() as own:
            lifespan = Lifespan(hello, mode=OFF)
            async with at_work(service, lifespan, listeners=[own]) as master:
                master.close()
        assert service.notice.reason == "master gone"

    run(main(), make_loop)
    assert "master is gone, draining within_s=0.5" in caplog.text


@both_loops
def test_sigterm_to_a_worker_alone_lets_it_drain(make_loop: MakeLoop, client: Clients) -> None:
    async def main() -> None:
        gate, app = gated()
        service = make_service(app)  # type: ignore[arg-type]
        with listener() as own:
            lifespan = Lifespan(app, mode=OFF)  # type: ignore[arg-type]
            async with at_work(service, lifespan, listeners=[own]) as master:
                one = client(own)
                one.send(GET)
                await beat_with(master, in_flight=1)
                os.kill(os.getpid(), signal.SIGTERM)
                assert (await master.hear(ipc.Draining)).http == 1
                gate.set()
                assert b"connection: close\r\n" in (await answer(one)).lower()
                assert (await master.hear(ipc.Drained)).cut == 0

    run(main(), make_loop)


@both_loops
def test_what_is_not_over_in_time_is_cut_and_counted(
    make_loop: MakeLoop, client: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        _, app = gated()
        service = make_service(app)  # type: ignore[arg-type]
        with listener() as own:
            lifespan = Lifespan(app, mode=OFF)  # type: ignore[arg-type]
            async with at_work(service, lifespan, listeners=[own]) as master:
                one, two = client(own), client(own)
                one.send(GET)
                two.send(GET)
                await beat_with(master, in_flight=2)
                master.say(ipc.Drain("exit", 20.0), ipc.Drain("reload", 0.1))
                assert (await master.hear(ipc.Drained)).cut == 2
        assert service.notice.reason == "exit"

    run(main(), make_loop)
    assert "drain is over, cutting what is left connections=2 requests=2" in caplog.text


@both_loops
def test_a_request_that_comes_as_the_rest_is_cut_leaves_nothing_behind(
    make_loop: MakeLoop, client: Clients
) -> None:
    class LastMoment(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "drain is over" in record.msg:
                late.data_received(GET)
                assert len(service.running) == 2

    service: Service
    late: Connection

    async def main() -> None:
        nonlocal service, late
        _, app = gated()
        service = make_service(app)  # type: ignore[arg-type]
        with listener() as own:
            lifespan = Lifespan(app, mode=OFF)  # type: ignore[arg-type]
            async with at_work(service, lifespan, listeners=[own]) as master:
                late = connect(service)
                client(own).send(GET)
                await beat_with(master, in_flight=1)
                master.say(ipc.Drain("exit", 0.1))
                await master.hear(ipc.Drained)
                assert not service.running

    last_moment = LastMoment()
    logging.getLogger("pounce").addHandler(last_moment)
    try:
        run(main(), make_loop)
    finally:
        logging.getLogger("pounce").removeHandler(last_moment)


def test_a_word_that_cannot_come_now_is_logged_and_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with at_work(make_service(hello), Lifespan(hello, mode=OFF)) as master:
            master.say(ipc.Go())
            master.say(ipc.Ready())  # type: ignore[arg-type]  # the worker's own
            master.say(ipc.Drain("exit", 1.0))
            await master.hear(ipc.Drained)

    run(main(), asyncio.new_event_loop)
    assert "cue ignored GO at SERVING" in caplog.text
    assert "message from the master ignored: Ready()" in caplog.text
