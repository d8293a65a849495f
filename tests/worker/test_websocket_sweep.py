"""What the worker does with a WebSocket that does not get on, or has to go."""

from __future__ import annotations

import asyncio

import pytest
from wsproto.events import CloseConnection, Ping

from pounce.asgi import Message, Receive, Scope, Send
from pounce.worker.http_stream import ClientDisconnected
from pounce.worker.websocket_deadlines import WebSocketTimeouts
from pounce.worker.websocket_rules import WebSocketRules
from tests.support.frames import close, text
from tests.support.transport import settle
from tests.support.tunnel import (
    ACCEPT,
    ACCEPTED,
    MORE,
    SEND,
    START,
    Tunnel,
    app_of,
    disconnect,
    sends_and_stays,
)

PATIENT = WebSocketRules()
HASTY = WebSocketRules(
    timeouts=WebSocketTimeouts(handshake=5.0, ping_interval=2.0, ping_timeout=2.0, max_rate=1)
)


def told(tunnel: Tunnel) -> list[tuple[int, str | None]]:
    return [(int(e.code), e.reason) for e in tunnel.sent if isinstance(e, CloseConnection)]


def test_a_silent_peer_is_pinged_and_then_closed() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays(ACCEPT), rules=HASTY)
        await settle()
        tunnel.stream.sweep(1.0)
        assert not tunnel.sent
        tunnel.stream.sweep(2.0)
        assert isinstance(tunnel.sent[0], Ping)
        tunnel.stream.sweep(4.0)
        assert told(tunnel) == [(1011, "a ping was not answered")]
        await tunnel.task
        assert tunnel.stream.code == 1011

    asyncio.run(main())


def test_no_ping_is_added_to_what_a_peer_does_not_read() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays(ACCEPT), rules=HASTY)
        await settle()
        tunnel.wire.congested = True
        tunnel.stream.sweep(2.0)
        assert not tunnel.sent
        tunnel.stream.gone("connection closed")
        await tunnel.task

    asyncio.run(main())


def test_a_peer_that_says_too_much_is_closed() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays(ACCEPT), rules=HASTY)
        await settle()
        tunnel.stream.data(text("a") * 4)
        tunnel.stream.sweep(1.0)
        assert told(tunnel) == [(1008, "too many messages a second")]
        await tunnel.task

    asyncio.run(main())


@pytest.mark.parametrize("begun", [[], [START]], ids=["nothing said", "a head held back"])
def test_an_application_that_does_not_decide_is_answered_for(
    begun: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Message] = []

    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            heard.append(await receive())
            for message in begun:
                await send(message)
            heard.append(await receive())
            with pytest.raises(ClientDisconnected):
                await send(ACCEPT)

        tunnel = Tunnel(app, rules=HASTY)
        await settle()
        tunnel.stream.sweep(4.9)
        assert not tunnel.wire.calls
        tunnel.stream.sweep(5.0)
        ((kind, status, _, body, end),) = tunnel.wire.calls
        assert (kind, status, body, end) == ("head", 503, b"Service Unavailable\n", True)
        await tunnel.task
        assert tunnel.over == [tunnel.stream]
        assert tunnel.stream.status == 503

    asyncio.run(main())
    assert heard == [{"type": "websocket.connect"}, disconnect(1006)]
    (line,) = caplog.messages
    assert line == "application neither accepted nor denied a websocket in time path=/chat"


def test_a_denial_under_way_and_a_close_under_way_have_no_such_limit() -> None:
    async def main() -> None:
        denying = Tunnel(sends_and_stays(START, MORE), rules=HASTY)
        closing = Tunnel(sends_and_stays(ACCEPT), rules=HASTY)
        await settle()
        closing.stream.close(1000, "")
        for tunnel in (denying, closing):
            before = list(tunnel.wire.calls), tunnel.wire.output
            tunnel.stream.sweep(1000.0)
            assert (list(tunnel.wire.calls), tunnel.wire.output) == before
            tunnel.stream.gone("connection closed")
            await tunnel.task

    asyncio.run(main())


def test_who_waits_for_a_message_is_dismissed_at_once() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays(ACCEPT))
        await settle()
        tunnel.stream.data(text("a"))
        await settle()
        tunnel.stream.dismiss(1012, "restart")
        assert told(tunnel) == [(1012, "restart")]
        tunnel.stream.data(close(1012))
        await tunnel.task
        assert (tunnel.stream.code, tunnel.stream.reason) == (1012, "restart")

    asyncio.run(main())


def test_who_only_sends_is_dismissed_at_once() -> None:
    async def main() -> None:
        stay = asyncio.Event()

        async def run(receive: Receive, send: Send) -> None:
            await send(ACCEPT)
            await stay.wait()
            with pytest.raises(ClientDisconnected):
                await send(SEND)

        tunnel = Tunnel(app_of(run))
        await settle()
        tunnel.stream.dismiss(1001, "")
        assert told(tunnel) == [(1001, "")]
        stay.set()
        await tunnel.task

    asyncio.run(main())


def test_a_message_in_work_is_answered_before_who_works_on_it_is_dismissed() -> None:
    async def main() -> None:
        work = asyncio.Event()

        async def run(receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            while (message := await receive())["type"] == "websocket.receive":
                await work.wait()
                await send({"type": "websocket.send", "text": message["text"]})

        tunnel = Tunnel(app_of(run))
        await settle()
        tunnel.stream.data(text("a") + text("b"))
        await settle()
        tunnel.stream.dismiss(1012, "restart")
        await settle()
        assert not tunnel.sent
        work.set()
        await settle()
        first, second, last = tunnel.sent
        assert (getattr(first, "data", ""), getattr(second, "data", "")) == ("a", "b")
        assert isinstance(last, CloseConnection)
        assert last.code == 1012
        tunnel.stream.data(close(1012))
        await tunnel.task

    asyncio.run(main())


def test_a_handshake_is_dismissed_with_503() -> None:
    async def main() -> None:
        stay = asyncio.Event()

        async def run(receive: Receive, send: Send) -> None:
            await stay.wait()
            with pytest.raises(ClientDisconnected):
                await send(ACCEPT)

        tunnel = Tunnel(app_of(run))
        tunnel.stream.dismiss(1012, "restart")
        assert tunnel.wire.calls[0][:2] == ("head", 503)
        assert tunnel.over == [tunnel.stream]
        stay.set()
        await tunnel.task
        assert ACCEPTED not in tunnel.wire.calls

    asyncio.run(main())


def test_a_handshake_that_the_wire_has_given_up_is_reset() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays())
        tunnel.wire.broken = True
        tunnel.stream.dismiss(1012, "restart")
        assert tunnel.wire.calls == [("reset",)]
        await tunnel.task

    asyncio.run(main())
