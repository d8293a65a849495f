"""WebSockets in streams of an HTTP/2 connection, beside each other and beside requests."""

from __future__ import annotations

import asyncio

from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from pounce.asgi import Receive, Scope, Send
from pounce.worker.seeing_off import SeeingOff
from pounce.worker.service import Service
from tests.support.h2 import HANDSHAKE, Http2Client
from tests.support.h2_websocket import Http2Talk
from tests.support.transport import settle
from tests.worker.test_websocket_opening import serve
from tests.worker.wire.test_h2 import hello, run


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Echoes in capitals; requests get a greeting."""
    if scope["type"] == "http":
        await hello(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"].upper()})


def ask() -> Request:
    return Request(host="a", target="/")


async def began(service: Service) -> Http2Client:
    return await Http2Client(service).begin()


def test_requests_and_websockets_share_a_connection() -> None:
    async def main() -> None:
        service = serve(app)
        client = await began(service)
        talks = [Http2Talk(service, client) for _ in range(3)]
        for talk in talks:
            (accepted,) = await talk.say(ask())
            assert isinstance(accepted, AcceptConnection)
        assert client.answer(await client.ask()).body == b"ok\n"
        for talk in talks:
            assert await talk.say(TextMessage(data="a")) == [TextMessage(data="A")]
        assert client.h2.remote_settings.enable_connect_protocol == 1
        client.connection.connection_lost(None)
        await settle()

    run(main())


def test_a_reset_ends_one_websocket_and_leaves_the_others() -> None:
    async def main() -> None:
        service = serve(app)
        client = await began(service)
        first, second = Http2Talk(service, client), Http2Talk(service, client)
        for talk in (first, second):
            await talk.say(ask())
        client.h2.send_data(first.number, b"\x81\x85")  # half a frame
        client.h2.reset_stream(first.number, 8)
        await client.go()
        assert len(service.websockets) == 1
        assert await second.say(TextMessage(data="b")) == [TextMessage(data="B")]
        client.connection.connection_lost(None)
        await settle()

    run(main())


def test_what_comes_before_the_acceptance_is_held() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def late(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await app(scope, receive, send)

        service = serve(late)
        client = await began(service)
        number = client.h2.get_next_available_stream_id()
        client.h2.send_headers(number, HANDSHAKE)
        client.h2.send_data(number, b"\x81\x81\0\0\0\0a")
        await client.go()
        assert not client.answer(number).status
        go.set()
        await client.go()
        assert (client.answer(number).status, client.answer(number).body) == (200, b"\x81\x01A")
        client.connection.connection_lost(None)
        await settle()

    run(main())


def test_no_field_of_http1_is_in_the_answer() -> None:
    async def main() -> None:
        service = serve(app)
        client = await began(service)
        talk = Http2Talk(service, client)
        await talk.say(ask())
        names = {name for name, _ in client.answer(talk.number).headers}
        assert not names & {b"sec-websocket-accept", b"upgrade", b"connection", b"content-length"}
        client.connection.connection_lost(None)
        await settle()

    run(main())


def test_another_version_is_426_without_upgrade() -> None:
    async def main() -> None:
        client = await began(serve(app))
        fields = [*HANDSHAKE[:-1], (b"sec-websocket-version", b"12")]
        number = await client.ask(fields, end=False)
        answer = client.answer(number)
        assert answer.status == 426
        assert (b"sec-websocket-version", b"13") in answer.headers
        assert b"upgrade" not in dict(answer.headers)

    run(main())


def test_the_peers_end_of_its_half_is_the_end() -> None:
    async def main() -> None:
        service = serve(app)
        client = await began(service)
        talk = Http2Talk(service, client)
        await talk.say(ask())
        client.h2.end_stream(talk.number)
        await client.go()
        assert client.answer(talk.number).ended
        assert not service.websockets
        assert not client.wire.streams

    run(main())


def test_a_drain_says_1012_in_the_stream_before_the_last_goaway() -> None:
    async def main() -> None:
        service = serve(app)
        client = await began(service)
        talk = Http2Talk(service, client)
        await talk.say(ask())
        service.draining = service.leaving = True
        client.connection.drain()
        await client.go()
        before = len(client.goaways)
        off = SeeingOff(service.websockets, "close")
        off.begin("reload", 0.0, 1.0)
        off.go_on(0.95)
        (closed,) = await talk.hear()
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1012
        assert len(client.goaways) == before
        await talk.say(closed.response())
        assert client.answer(talk.number).ended
        client.h2.end_stream(talk.number)
        await client.go()
        assert client.goaways[before:] == [(talk.number, 0)]
        assert client.transport.half_closed

    run(main())
