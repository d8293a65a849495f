"""Every way for a WebSocket to end: by its application, its peer, or the server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from wsproto.events import CloseConnection, Pong

from pounce.asgi import Message, Receive, Send
from pounce.worker.http_stream import ClientDisconnected
from pounce.worker.wire import ResponseError
from tests.support.frames import FIN, PING, TEXT, close, frame, text
from tests.support.transport import settle
from tests.support.tunnel import (
    ACCEPT,
    ACCEPTED,
    BODY,
    CLOSE,
    MORE,
    SEND,
    START,
    Tunnel,
    app_of,
    disconnect,
    play,
    sends,
    sends_and_stays,
)

# Ends that the application makes.


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({}, 1000, ""),
        ({"code": None, "reason": None}, 1000, ""),
        ({"code": 1001, "reason": "bye"}, 1001, "bye"),
        ({"code": 4999}, 4999, ""),
    ],
)
def test_the_application_closes_with_its_own_code(message: Message, code: int, reason: str) -> None:
    seen: list[Message] = []

    async def run(receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({**CLOSE, **message})
        seen.append(await receive())

    async def main() -> None:
        tunnel = Tunnel(app_of(run))
        await tunnel.task
        assert tunnel.sent == [CloseConnection(code=code, reason=reason)]
        assert tunnel.wire.calls == [ACCEPTED]  # the peer's Close is waited for
        assert not tunnel.over
        tunnel.stream.data(text("too late") + close(code))
        assert tunnel.wire.calls == [ACCEPTED, ("end",)]
        assert len(tunnel.over) == 1
        assert (tunnel.stream.code, tunnel.stream.reason) == (code, reason)

    asyncio.run(main())
    assert seen == [disconnect(code, reason)]


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 5000, "1000"])
def test_a_code_that_may_not_be_sent_is_an_error(code: Any) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        with pytest.raises(ResponseError, match="may not be sent"):
            await send({**CLOSE, "code": code})

    assert play(app_of(run)).sent == [CloseConnection(code=1000, reason="")]


def test_an_application_that_returns_has_closed_with_1000() -> None:
    tunnel = play(sends(ACCEPT))
    assert tunnel.sent == [CloseConnection(code=1000, reason="")]
    assert tunnel.stream.code == 1000


def test_an_application_that_raises_has_closed_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        raise ValueError("of its own")

    tunnel = play(app_of(run))
    assert tunnel.sent == [CloseConnection(code=1011, reason="")]
    assert [record.getMessage() for record in caplog.records] == [
        "application raised websocket path=/chat"
    ]
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("before", [[], [START]], ids=["nothing", "a start"])
@pytest.mark.parametrize("error", [ValueError, SystemExit, ClientDisconnected, None])
def test_an_application_that_gives_up_before_it_answers_is_500(
    before: list[Message], error: type[BaseException] | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(receive: Receive, send: Send) -> None:
        for message in before:
            await send(message)
        if error is not None:
            raise error

    tunnel = play(app_of(run))
    assert [call[:2] for call in tunnel.wire.calls] == [("head", 500)]
    assert len(caplog.records) == 1
    assert (tunnel.stream.status, len(tunnel.over)) == (500, 1)


def test_half_an_answer_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    tunnel = play(sends(START, MORE))
    assert tunnel.wire.calls[-1] == ("reset",)
    assert len(tunnel.over) == 1
    assert len(caplog.records) == 1


def test_a_peer_that_does_not_answer_a_close_is_cut() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends(ACCEPT))
        await tunnel.task
        timer = tunnel.stream._closing
        assert timer is not None
        left = timer.when() - asyncio.get_running_loop().time()
        assert 5 < left <= tunnel.stream._rules.close_timeout
        tunnel.stream._cut()
        assert tunnel.wire.calls == [ACCEPTED, ("reset",)]
        assert len(tunnel.over) == 1
        timer.cancel()

    asyncio.run(main())


# Ends that the peer makes.


@pytest.mark.parametrize(
    ("data", "code", "reason", "answer"),
    [
        (close(1000), 1000, "", (1000, "")),
        (close(1001, b"tab"), 1001, "tab", (1001, "")),
        (close(1010), 1010, "", (1010, "")),
        (close(), 1005, "", (1005, "")),
        (text("a") + close(4001, b"x"), 4001, "x", (4001, "")),
        (frame(FIN | TEXT, b"a", mask=None), 1002, "unmasked", (1002, "unmasked")),
        (text(b"\xff"), 1007, "not UTF-8", (1007, "not UTF-8")),
        (close(999), 1002, "invalid code", (1002, "invalid code")),
    ],
    ids=repr,
)
def test_the_peer_s_end_has_its_own_code(
    data: bytes, code: int, reason: str, answer: tuple[int, str]
) -> None:
    seen: list[Message] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        while (message := await receive())["type"] == "websocket.receive":
            pass
        seen.append(message)
        await send(SEND)

    tunnel = play(app_of(run), data)  # and nothing is logged of the send()
    assert seen[0]["code"] == code
    assert reason in seen[0]["reason"]
    last = tunnel.sent[-1]
    assert isinstance(last, CloseConnection)
    assert last.code == answer[0]
    assert answer[1] in (last.reason or "")
    assert tunnel.wire.calls == [ACCEPTED, ("end",)]
    assert len(tunnel.over) == 1


def test_messages_before_the_peer_s_end_are_received_first() -> None:
    seen: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        await settle()
        while (message := await receive())["type"] == "websocket.receive":
            seen.append(message["text"])

    play(app_of(run), text("a") + text("b") + close())
    assert seen == ["a", "b"]


@pytest.mark.parametrize("how", ["gone", "end", "half_closed"])
@pytest.mark.parametrize("accepted", [True, False])
def test_a_peer_that_is_lost_is_1006(
    how: str, accepted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Message] = []

    async def run(receive: Receive, send: Send) -> None:
        await receive()
        if accepted:
            await send(ACCEPT)
        seen.append(await receive())
        await send(SEND)

    async def main() -> Tunnel:
        tunnel = Tunnel(app_of(run))
        await settle()
        if how == "gone":
            tunnel.stream.gone("reset by peer")
        else:
            getattr(tunnel.stream, how)()
        await tunnel.task
        return tunnel

    caplog.set_level(logging.INFO)
    tunnel = asyncio.run(main())
    assert seen == [disconnect(1006)]
    assert len(tunnel.over) == 1
    assert not caplog.records
    ends = [] if how == "gone" else ["end" if accepted else "reset"]
    assert [call[0] for call in tunnel.wire.calls] == ["accept"] * accepted + ends


def test_a_loss_behind_our_own_close_keeps_our_code() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends(ACCEPT, {**CLOSE, "code": 4000}))
        await tunnel.task
        tunnel.stream.gone("reset by peer")
        assert tunnel.stream.code == 4000
        assert len(tunnel.over) == 1
        assert tunnel.stream._closing is None

    asyncio.run(main())


# Ends that the server makes.


def test_the_server_closes_and_the_application_hears_of_it_behind_its_messages() -> None:
    seen: list[Message] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        while (message := await receive())["type"] != "websocket.disconnect":
            seen.append(message)
            await settle()
        seen.append(message)
        await send(SEND)

    async def main() -> None:
        tunnel = Tunnel(app_of(run))
        await asyncio.sleep(0)
        tunnel.stream.data(text("a"))
        tunnel.stream.close(1012, "reload")
        tunnel.stream.data(text("b") + close(1012))
        await tunnel.task
        assert tunnel.sent == [CloseConnection(code=1012, reason="reload")]
        assert tunnel.wire.calls == [ACCEPTED, ("end",)]
        assert len(tunnel.over) == 1

    asyncio.run(main())
    assert seen[1:] == [
        {"type": "websocket.receive", "text": "a"},
        disconnect(1012, "reload"),
    ]


@pytest.mark.parametrize("messages", [[], [ACCEPT, CLOSE], [START, BODY]])
def test_the_server_s_close_is_for_open_websockets(messages: list[Message]) -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays(*messages))
        await settle()
        calls, output = list(tunnel.wire.calls), tunnel.wire.output
        tunnel.stream.close(1012, "reload")
        assert (tunnel.wire.calls, tunnel.wire.output) == (calls, output)
        tunnel.stream.gone("end of test")
        await tunnel.task

    asyncio.run(main())


@pytest.mark.parametrize(
    ("messages", "first", "last"),
    [
        ([], ("head", 503), None),
        ([ACCEPT], ACCEPTED, 1001),
        ([START, MORE], ("head", 401), None),
    ],
)
def test_an_application_that_is_cancelled_leaves_an_answer(
    messages: list[Message], first: tuple[Any, ...], last: int | None
) -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays(*messages))
        await settle()
        tunnel.task.cancel()
        await tunnel.task
        assert tunnel.wire.calls[0][: len(first)] == first
        if last is not None:
            assert tunnel.sent == [CloseConnection(code=last, reason="")]
            tunnel.stream.gone("end of test")
        assert len(tunnel.over) == 1

    asyncio.run(main())


def test_a_ping_is_answered_even_if_the_application_does_nothing() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays(ACCEPT))
        await settle()
        tunnel.stream.data(frame(FIN | PING, b"1") + frame(FIN | PING))
        assert tunnel.sent == [Pong(payload=b"1"), Pong(payload=b"")]
        tunnel.stream.close(1001, "")
        tunnel.stream.data(frame(FIN | PING, b"2"))
        assert isinstance(tunnel.sent[-1], CloseConnection)
        tunnel.stream.gone("end of test")
        await tunnel.task

    asyncio.run(main())


def test_an_answer_that_the_wire_refuses_cuts_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        tunnel = Tunnel(sends())
        tunnel.wire.broken = True
        await tunnel.task
        assert tunnel.wire.calls == [("reset",)]
        assert len(tunnel.over) == 1

    asyncio.run(main())
    assert "application returned, expected websocket.accept" in caplog.text


def test_a_websocket_that_is_over_takes_no_notice_of_anything() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays(ACCEPT))
        await settle()
        tunnel.stream.data(close(1000))
        await tunnel.task
        calls = list(tunnel.wire.calls)
        tunnel.stream.end()
        tunnel.stream.half_closed()
        tunnel.stream.resumed()
        tunnel.stream.close(1012, "reload")
        tunnel.stream.dismiss(1012, "reload")
        tunnel.stream.sweep(1000.0)
        tunnel.stream.gone("connection closed")
        assert tunnel.wire.calls == calls
        assert (len(tunnel.over), tunnel.stream.code) == (1, 1000)

    asyncio.run(main())


def test_an_error_behind_the_peer_s_close_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        raise ValueError("cleaning up")

    tunnel = play(app_of(run), close(1000))
    assert tunnel.stream.code == 1000
    assert tunnel.wire.calls == [ACCEPTED, ("end",)]
    assert "application raised" in caplog.text


def test_a_wrong_frame_behind_our_close_ends_it_without_another() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends(ACCEPT))
        await tunnel.task
        tunnel.stream.data(frame(FIN | TEXT, b"a", mask=None))
        assert tunnel.sent == [CloseConnection(code=1000, reason="")]
        assert tunnel.wire.calls == [ACCEPTED, ("end",)]
        assert tunnel.stream.code == 1000

    asyncio.run(main())


@pytest.mark.parametrize("status", [101, 401])
def test_an_answer_whose_body_never_began_was_not_given(status: int) -> None:
    async def main() -> None:
        tunnel = Tunnel(sends_and_stays({**START, "status": status}))
        await settle()
        tunnel.stream.gone("connection lost")
        await tunnel.task
        assert tunnel.over == [tunnel.stream]
        assert tunnel.stream.status == 0

    asyncio.run(main())
