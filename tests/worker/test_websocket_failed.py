"""A peer that breaks the rules hears so behind the answers to what it said before that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from wsproto.events import CloseConnection, TextMessage

from pounce.asgi import Message, Receive, Send
from pounce.worker.http_stream import ClientDisconnected
from pounce.worker.websocket_rules import WebSocketRules
from tests.support.frames import FIN, TEXT, close, frame, text
from tests.support.transport import settle
from tests.support.tunnel import ACCEPT, ACCEPTED, CLOSE, SEND, Tunnel, app_of, disconnect, play

WRONG = frame(FIN | TEXT, b"a", mask=None)


async def echo(receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@pytest.mark.parametrize("pieces", [[text("x") + text("y") + WRONG], [text("x"), text("y"), WRONG]])
def test_messages_before_a_wrong_frame_are_answered_however_tcp_cuts_them(
    pieces: list[bytes],
) -> None:
    tunnel = play(app_of(echo), *pieces)
    assert tunnel.sent[:2] == [TextMessage(data="x"), TextMessage(data="y")]
    last = tunnel.sent[2]
    assert isinstance(last, CloseConnection)
    assert last.code == 1002
    assert tunnel.wire.calls == [ACCEPTED, ("end",)]
    assert tunnel.stream.code == 1002
    assert len(tunnel.over) == 1


def test_who_waits_for_the_peer_is_not_waited_for() -> None:
    async def main() -> None:
        tunnel = Tunnel(app_of(echo))
        await settle()
        tunnel.stream.data(WRONG)
        assert tunnel.wire.calls == [ACCEPTED, ("end",)]
        await tunnel.task

    asyncio.run(main())


class Busy:
    """An application that works on the first message until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.seen: list[Message] = []
        self.answers: list[Message] = [SEND]
        self.refused = False

    async def __call__(self, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        self.seen.append(await receive())
        await self.go_on.wait()
        try:
            for answer in self.answers:
                await send(answer)
        except ClientDisconnected:
            self.refused = True
        self.seen.append(await receive())


async def failed_while(busy: Busy, rules: WebSocketRules | None = None) -> Tunnel:
    tunnel = Tunnel(app_of(busy), rules=rules)
    await settle()
    tunnel.stream.data(text("a") + WRONG)
    await settle()
    assert tunnel.wire.calls == [ACCEPTED]
    return tunnel


def test_what_comes_behind_a_wrong_frame_is_dropped() -> None:
    async def main() -> None:
        busy = Busy()
        tunnel = await failed_while(busy)
        tunnel.stream.data(text("b") + close())
        assert tunnel.wire.consumed_bytes == tunnel.stream.received  # and hinders nobody
        busy.go_on.set()
        await tunnel.task
        assert [each["type"] for each in busy.seen] == ["websocket.receive", "websocket.disconnect"]
        assert busy.seen[1]["code"] == 1002

    asyncio.run(main())


def test_an_application_that_asks_for_no_more_is_not_waited_for_without_end() -> None:
    async def main() -> None:
        busy = Busy()
        tunnel = await failed_while(busy, WebSocketRules(close_timeout=0.01))
        while not tunnel.over:
            await asyncio.sleep(0.001)
        assert tunnel.wire.calls == [ACCEPTED, ("end",)]
        busy.go_on.set()
        await tunnel.task
        assert busy.refused
        assert busy.seen[1]["code"] == 1002

    asyncio.run(main())


def test_an_application_that_closes_meanwhile_has_its_own_code_and_no_answer_to_wait_for() -> None:
    async def main() -> None:
        busy = Busy()
        busy.answers = [SEND, {**CLOSE, "code": 4000}]
        tunnel = await failed_while(busy)
        busy.go_on.set()
        await tunnel.task
        assert tunnel.sent == [TextMessage(data="x"), CloseConnection(code=4000, reason="")]
        assert tunnel.wire.calls == [ACCEPTED, ("end",)]
        assert tunnel.stream._closing is None
        assert busy.seen[1] == disconnect(4000)

    asyncio.run(main())


def lost(tunnel: Tunnel) -> None:
    tunnel.stream.gone("reset by peer")


def half_closed(tunnel: Tunnel) -> None:
    tunnel.stream.half_closed()


def dismissed(tunnel: Tunnel) -> None:
    tunnel.stream.dismiss(1012, "the server is restarting")


def closed(tunnel: Tunnel) -> None:
    tunnel.stream.close(1012, "the server is restarting")


@pytest.mark.parametrize(
    ("event", "told", "code"),
    [(lost, 0, 1006), (half_closed, 1002, 1002), (dismissed, 1002, 1002), (closed, 1012, 1012)],
)
def test_what_happens_while_the_application_is_waited_for_ends_it_once(
    event: Callable[[Tunnel], None], told: int, code: int
) -> None:
    async def main() -> None:
        busy = Busy()
        tunnel = await failed_while(busy)
        event(tunnel)
        busy.go_on.set()
        await tunnel.task
        assert busy.seen[1]["code"] == code
        closes = [each.code for each in tunnel.sent if isinstance(each, CloseConnection)]
        assert closes == ([told] if told else [])
        assert tunnel.wire.calls == [ACCEPTED] + [("end",)] * bool(told)
        assert len(tunnel.over) == 1
        assert tunnel.stream._closing is None

    asyncio.run(main())


def test_a_wrong_frame_or_a_close_held_back_by_a_full_inbox_does_not_hinder_our_own_close() -> None:
    async def main(held: bytes, code: int) -> None:
        busy = Busy()
        tunnel = Tunnel(app_of(busy), rules=WebSocketRules(queue=1))
        await settle()
        tunnel.stream.data(text("a"))
        await settle()
        tunnel.stream.data(text("b") + held)
        tunnel.stream.close(1012, "the server is restarting")
        assert tunnel.sent == [CloseConnection(code=1012, reason="the server is restarting")]
        assert tunnel.wire.calls == [ACCEPTED, ("end",)]
        assert tunnel.stream.code == code
        busy.go_on.set()
        await tunnel.task

    asyncio.run(main(close(1000), 1012))
    asyncio.run(main(WRONG, 1012))
