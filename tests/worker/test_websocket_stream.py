"""One WebSocket as ASGI, on a wire in memory: every message at every stage, every way to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wsproto.events import BytesMessage, CloseConnection, Pong, TextMessage

from pounce.asgi import App, Message, Receive, Scope, Send
from pounce.worker.http_stream import ClientDisconnected
from pounce.worker.websocket_stages import ALLOWED, Stage
from pounce.worker.wire import ResponseError
from tests.support.frames import FIN, PING, TEXT, binary, close, frame, text
from tests.support.transport import settle
from tests.support.tunnel import Tunnel

ACCEPT: Message = {"type": "websocket.accept"}
SEND: Message = {"type": "websocket.send", "text": "x"}
CLOSE: Message = {"type": "websocket.close"}
START: Message = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"a", b"b")]}
BODY: Message = {"type": "websocket.http.response.body", "body": b"no"}
MORE: Message = {**BODY, "more_body": True}
ACCEPTED = ("accept", [(b"sec-websocket-accept", b"accepted")])
Run = Callable[[Receive, Send], Awaitable[None]]


def app_of(run: Run) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await run(receive, send)

    return app


def sends(*messages: Message) -> App:
    async def run(receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app_of(run)


def sends_and_stays(*messages: Message) -> App:
    """Sends, and waits for the end."""

    async def run(receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    return app_of(run)


def play(app: App, *incoming: bytes) -> Tunnel:
    """A WebSocket from its request to the end of its application."""

    async def main() -> Tunnel:
        tunnel = Tunnel(app)
        await settle()
        for data in incoming:
            tunnel.stream.data(data)
            await settle()
        await asyncio.wait_for(tunnel.task, 5)
        return tunnel

    return asyncio.run(main())


def disconnect(code: int, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


# What leads to each stage.
TO_STAGE: dict[Stage, list[Message]] = {
    Stage.CONNECTING: [],
    Stage.HELD: [START],
    Stage.DENYING: [START, MORE],
    Stage.DENIED: [START, BODY],
    Stage.OPEN: [ACCEPT],
    Stage.CLOSED: [ACCEPT, CLOSE],
    Stage.GONE: [ACCEPT],
}
MESSAGES = [ACCEPT, SEND, CLOSE, START, BODY, {"type": "websocket.sent"}, {"type": "http.response"}]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message["type"]))
@pytest.mark.parametrize("stage", Stage, ids=lambda stage: stage.name)
def test_a_message_at_the_wrong_stage_is_an_error_that_says_what_was_expected(
    stage: Stage, message: Message
) -> None:
    async def run(receive: Receive, send: Send) -> None:
        for before in TO_STAGE[stage]:
            await send(before)
        if stage is Stage.GONE:
            while (await receive())["type"] != "websocket.disconnect":
                pass
        if stage in ALLOWED.get(message["type"], ()):
            await send(message)
        elif stage is Stage.GONE:
            with pytest.raises(ClientDisconnected):
                await send(message)
        else:
            with pytest.raises(ResponseError) as caught:
                await send(message)
            assert str(caught.value) == f"{message['type']!r} was sent, expected {stage.value}"
        reached.append(stage)

    reached: list[Stage] = []
    play(app_of(run), *([close()] if stage is Stage.GONE else []))
    assert reached == [stage]


def test_the_error_of_a_client_that_has_left_is_an_oserror() -> None:
    assert issubclass(ClientDisconnected, OSError)


def test_messages_go_both_ways() -> None:
    seen: list[Message] = []

    async def run(receive: Receive, send: Send) -> None:
        seen.append(await receive())
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            seen.append(message)
            await send({**message, "type": "websocket.send"})
        seen.append(message)
        seen.append(await receive())

    tunnel = play(app_of(run), text("ä") + binary(b"\xff"), text(""), close(3000, b"done"))
    assert seen == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "ä"},
        {"type": "websocket.receive", "bytes": b"\xff"},
        {"type": "websocket.receive", "text": ""},
        disconnect(3000, "done"),
        disconnect(3000, "done"),
    ]
    assert tunnel.wire.calls == [ACCEPTED, ("end",)]
    assert tunnel.sent == [
        TextMessage(data="ä"),
        BytesMessage(data=b"\xff"),
        TextMessage(data=""),
        CloseConnection(code=3000, reason=""),
    ]
    stream = tunnel.stream
    assert (stream.status, stream.code, stream.reason) == (101, 3000, "done")
    assert (stream.messages_received, stream.messages_sent, tunnel.over) == (3, 3, 1)
    assert stream.sent == len(tunnel.wire.output)


def test_a_message_may_have_both_keys_of_which_one_is_none() -> None:
    tunnel = play(
        sends(
            ACCEPT,
            {"type": "websocket.send", "text": None, "bytes": b"a"},
            {"type": "websocket.send", "text": "b", "bytes": None},
            {"type": "websocket.send", "bytes": bytearray(b"c")},
        ),
        close(),
    )
    assert [getattr(each, "data", None) for each in tunnel.sent] == [b"a", "b", b"c", None]


@pytest.mark.parametrize(
    "message",
    [{}, {"text": None}, {"text": b"a"}, {"bytes": "a"}, {"text": "\ud800"}, {"bytes": [1]}],
    ids=repr,
)
def test_a_message_that_is_none_is_an_error_and_the_websocket_goes_on(message: Message) -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        with pytest.raises(ResponseError):
            await send({"type": "websocket.send", **message})
        await send(SEND)

    assert play(app_of(run)).sent[0] == TextMessage(data="x")


def test_a_subprotocol_and_headers_are_given_with_the_acceptance() -> None:
    accept = {**ACCEPT, "subprotocol": "b", "headers": [(b"set-cookie", b"a=1")]}
    tunnel = play(sends(accept))
    assert tunnel.wire.calls[0] == (
        "accept",
        [
            (b"sec-websocket-accept", b"accepted"),
            (b"sec-websocket-protocol", b"b"),
            (b"set-cookie", b"a=1"),
        ],
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"subprotocol": "c"},
        {"headers": [(b"sec-websocket-protocol", b"a")]},
        {"headers": [(b"connection", b"close")]},
        {"headers": [(b"x-a", b"1\r\n2")]},
    ],
    ids=repr,
)
def test_an_acceptance_of_what_may_not_be_is_an_error_and_can_be_made_good(wrong: Message) -> None:
    async def run(receive: Receive, send: Send) -> None:
        with pytest.raises(ResponseError):
            await send({**ACCEPT, **wrong})
        await send(ACCEPT)
        await send(SEND)

    tunnel = play(app_of(run))
    assert tunnel.wire.calls == [ACCEPTED]
    assert tunnel.sent[0] == TextMessage(data="x")


def test_what_came_behind_the_request_is_received_once_it_is_accepted() -> None:
    seen: list[Message] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        seen.append(await receive())

    async def main() -> None:
        await Tunnel(app_of(run), early=text("early")).task

    asyncio.run(main())
    assert seen == [{"type": "websocket.receive", "text": "early"}]


# Denying.


def test_a_close_before_the_acceptance_is_403() -> None:
    seen: list[Message] = []

    async def run(receive: Receive, send: Send) -> None:
        await receive()
        await send({**CLOSE, "code": 4000})
        seen.append(await receive())

    tunnel = play(app_of(run))
    name, status, _, body, end = tunnel.wire.calls[0]
    assert (name, status, body, end) == ("head", 403, b"Forbidden\n", True)
    assert len(tunnel.wire.calls) == 1
    assert seen == [disconnect(1006)]
    assert (tunnel.stream.status, tunnel.over) == (403, 1)


def test_an_answer_of_the_application_s_own_is_streamed() -> None:
    tunnel = play(sends(START, MORE, MORE, BODY))
    assert tunnel.wire.calls == [
        ("head", 401, [(b"a", b"b")], b"no", False),
        ("data", b"no", False),
        ("data", b"no", True),
    ]
    assert (tunnel.stream.status, tunnel.over) == (401, 1)


def test_an_answer_in_one_is_one_call() -> None:
    assert play(sends(START, BODY)).wire.calls == [("head", 401, [(b"a", b"b")], b"no", True)]


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
        assert tunnel.over == 1
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
    assert (tunnel.stream.status, tunnel.over) == (500, 1)


def test_half_an_answer_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    tunnel = play(sends(START, MORE))
    assert tunnel.wire.calls[-1] == ("reset",)
    assert tunnel.over == 1
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
        assert tunnel.over == 1
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
    assert tunnel.over == 1


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
    assert tunnel.over == 1
    assert not caplog.records
    ends = [] if how == "gone" else ["end" if accepted else "reset"]
    assert [call[0] for call in tunnel.wire.calls] == ["accept"] * accepted + ends


def test_a_loss_behind_our_own_close_keeps_our_code() -> None:
    async def main() -> None:
        tunnel = Tunnel(sends(ACCEPT, {**CLOSE, "code": 4000}))
        await tunnel.task
        tunnel.stream.gone("reset by peer")
        assert tunnel.stream.code == 4000
        assert tunnel.over == 1
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
        assert tunnel.over == 1

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
        assert tunnel.over == 1

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
