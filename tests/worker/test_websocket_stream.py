"""One WebSocket as ASGI, on a wire in memory: every message at every stage."""

from __future__ import annotations

import asyncio

import pytest
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from pounce.asgi import Message, Receive, Send
from pounce.worker.http_stream import ClientDisconnected
from pounce.worker.websocket_stages import ALLOWED, Stage
from pounce.worker.wire import ResponseError
from tests.support.frames import binary, close, text
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
)

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
        CloseConnection(code=3000, reason="done"),
    ]
    stream = tunnel.stream
    assert (stream.status, stream.code, stream.reason) == (101, 3000, "done")
    assert (stream.messages_received, stream.messages_sent, len(tunnel.over)) == (3, 3, 1)
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
    assert (tunnel.stream.status, len(tunnel.over)) == (403, 1)


def test_an_answer_of_the_application_s_own_is_streamed() -> None:
    tunnel = play(sends(START, MORE, MORE, BODY))
    assert tunnel.wire.calls == [
        ("head", 401, [(b"a", b"b")], b"no", False),
        ("data", b"no", False),
        ("data", b"no", True),
    ]
    assert (tunnel.stream.status, len(tunnel.over)) == (401, 1)


def test_an_answer_in_one_is_one_call() -> None:
    assert play(sends(START, BODY)).wire.calls == [("head", 401, [(b"a", b"b")], b"no", True)]


def test_a_reason_that_is_too_long_is_told_as_far_as_it_was_said() -> None:
    heard: list[Message] = []

    async def run(receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({**CLOSE, "reason": "\u20ac" * 50})
        heard.append(await receive())

    tunnel = play(app_of(run))
    assert heard == [disconnect(1000, "\u20ac" * 41)]
    assert tunnel.stream.reason == "\u20ac" * 41
