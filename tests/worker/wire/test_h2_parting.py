"""How an HTTP/2 connection ends: in two phases, with what is in flight finished."""

from __future__ import annotations

import asyncio
import struct

from pounce.asgi import Receive, Scope, Send
from pounce.worker.wire.h2_frames import LAST_STREAM
from pounce.worker.wire.h2_parting import Parting
from tests.support.h2 import (
    GET,
    POST,
    Http2Client,
    frame,
    headers,
    http2_client,
    http2_service,
    raw_client,
)
from tests.support.transport import settle
from tests.worker.wire.test_h2 import BODY, START, echo, hello, run


def test_what_crosses_the_first_goaway_is_served_and_what_comes_later_is_refused() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await hello(scope, receive, send)

        client = await raw_client(app)
        await client.say_raw(headers(1))
        client.connection.drain()
        await settle()
        client._note()
        assert client.goaways == [(LAST_STREAM, 0)]
        await client.say_raw(headers(3))  # it has not heard yet
        pings = [payload for kind, flags, _, payload in client.frames if (kind, flags) == (6, 0)]
        await client.say_raw(frame(6, 1, 0, pings[0]))
        assert client.goaways == [(LAST_STREAM, 0), (3, 0)]
        await client.say_raw(headers(5))
        assert client.resets == [(5, 7)]
        assert not client.transport.half_closed
        go.set()
        await settle()
        client._note()
        ended = [n for kind, flags, n, _ in client.frames if kind == 0 and flags & 1]
        assert ended == [1, 3]
        assert client.goaways[-1] == (5, 0)
        assert client.transport.half_closed

    run(main())


def test_an_idle_connection_is_closed_a_round_trip_after_the_drain() -> None:
    async def main() -> None:
        client = await http2_client(hello)
        number = await client.ask()
        client.connection.drain()
        await client.go()
        assert client.goaways == [(LAST_STREAM, 0), (number, 0), (number, 0)]
        assert client.transport.half_closed

    run(main())


def test_who_does_not_answer_the_ping_is_parted_from_all_the_same() -> None:
    async def main() -> None:
        client = await raw_client(hello)
        client.connection.drain()
        client.wire.sweep(0.5)
        assert client.wire.parting is Parting.TOLD
        client.wire.sweep(1.0)
        await settle()
        client._note()
        assert client.goaways[-1] == (0, 0)
        assert client.transport.half_closed

    run(main())


def test_a_connection_that_comes_while_the_worker_drains_is_served_its_last() -> None:
    async def main() -> None:
        service = http2_service(hello)
        service.draining = True
        client = await Http2Client(service).begin()
        assert client.goaways[0] == (LAST_STREAM, 0)

    run(main())


def test_a_connection_has_only_so_many_requests() -> None:
    async def main() -> None:
        service = http2_service(hello)
        service.rules.max_requests = 2
        client = await Http2Client(service).begin()
        for _ in range(2):
            assert client.answer(await client.ask()).ended
        assert client.goaways[0] == (LAST_STREAM, 0)
        assert client.transport.half_closed

    run(main())


def test_the_peers_goaway_lets_its_answers_come() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(START)
            await go.wait()
            await send(BODY)

        client = await http2_client(app)
        number = await client.ask()
        await client.say(frame(7, 0, 0, struct.pack(">II", 0, 0)))
        assert client.transport.state == "open"
        go.set()
        await client.go()
        assert client.answer(number).ended
        assert client.transport.state == "closing"

    run(main())


def test_a_peer_that_closes_its_side_still_gets_its_answers() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await hello(scope, receive, send)

        client = await http2_client(app)
        number = await client.ask()
        client.connection.eof_received()
        go.set()
        await client.go()
        assert client.answer(number).ended
        assert client.transport.state == "closing"

    run(main())


def test_a_lost_connection_is_told_to_all_and_nothing_is_written_any_more() -> None:
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        told.append(scope["method"])

    async def main() -> None:
        client = await http2_client(app)
        await client.ask(GET)
        await client.ask(POST, end=False)
        client.transport.abort()
        client.connection.connection_lost(None)
        await settle()
        assert told == ["GET", "POST"]

    run(main())


def test_a_body_cut_by_the_end_of_the_connection_is_no_whole_one() -> None:
    async def main() -> None:
        client = await http2_client(echo)
        number = await client.ask(POST, b"a", end=False)
        client.connection.eof_received()
        await client.go()
        assert not client.answer(number).ended

    run(main())
