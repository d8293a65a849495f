"""What heartbeats say of WebSockets, and when they come, over a real channel."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from pounce import ipc
from pounce.ipc import BUSY_BEAT_S
from pounce.worker.heartbeats import IDLE_BEAT
from pounce.worker.lifespan import Lifespan
from tests.support.at_work import (
    LOOPS,
    MakeLoop,
    MasterEnd,
    at_work,
    connected,
    listener,
    read,
    run,
)
from tests.support.frames import close, text
from tests.worker.test_websocket_opening import echo, serve
from tests.worker.test_worker import beat_with

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: x\r\n\r\n"
)

both_loops = pytest.mark.parametrize("make_loop", LOOPS)


@contextlib.asynccontextmanager
async def talking() -> AsyncIterator[tuple[MasterEnd, socket.socket]]:
    """A worker with one WebSocket that is echoed; the worker drains at the end."""
    service = serve(echo)
    with listener() as own:
        async with at_work(service, Lifespan(echo, mode="off"), listeners=[own]) as master:
            with connected(own) as client:
                client.send(HANDSHAKE)
                assert (await read(client)).startswith(b"HTTP/1.1 101 ")
                yield master, client
            master.say(ipc.Drain("exit", 20.0))
            await master.hear(ipc.Drained)


async def counting(master: MasterEnd, **values: object) -> ipc.Heartbeat:
    """The next heartbeat whose WebSockets are so."""
    while True:
        beat = await master.hear(ipc.Heartbeat)
        if all(getattr(beat.websockets, name) == value for name, value in values.items()):
            return beat


@both_loops
def test_an_idle_websocket_is_no_work_and_a_message_is(make_loop: MakeLoop) -> None:
    async def main() -> None:
        async with talking() as (master, client):
            opened = await counting(master, open=1)
            assert (opened.next_s, opened.connections) == (BUSY_BEAT_S, 1)
            idle = await beat_with(master, next_s=IDLE_BEAT)
            assert (idle.in_flight, idle.websockets.open) == (0, 1)
            client.send(text("a"))
            said = await counting(master, messages_received=1, messages_sent=1)
            assert said.next_s == BUSY_BEAT_S
            assert (said.websockets.received, said.websockets.sent) == (7, 3)

    run(main(), make_loop)


@both_loops
def test_the_last_heartbeat_counts_all_that_was_before_the_end(make_loop: MakeLoop) -> None:
    async def main() -> None:
        async with talking() as (master, client):
            await beat_with(master, next_s=IDLE_BEAT)
            for frame in (text("a"), close(1001)):
                client.send(frame)
                await read(client)
            client.close()
            master.say(ipc.Drain("exit", 20.0))
            await master.hear(ipc.Drained)
            beats = [one for one in master.heard if isinstance(one, ipc.Heartbeat)]
            last = beats[-1].websockets
            assert (last.open, last.opened, last.closed) == (0, 1, {"1001": 1})
            assert (last.messages_received, last.messages_sent) == (1, 1)
            master.heard.append(ipc.Drained(0))  # talking() waits for it as well

    run(main(), make_loop)
