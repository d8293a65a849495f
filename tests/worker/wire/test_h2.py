"""HTTP/2 as a client sees it: requests, bodies, answers, windows; all in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from pounce.asgi import Message, Receive, Scope, Send
from pounce.worker.connection import PREFACE
from pounce.worker.service import Timeouts
from tests.support.h2 import (
    GET,
    HANDSHAKE,
    POST,
    Answer,
    Http2Client,
    http2_client,
    http2_service,
)
from tests.support.transport import settle

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"ok\n"}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(BODY)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await send({**START, "trailers": False})
    while True:
        message = await receive()
        more = message.get("more_body", False)
        await send({**BODY, "body": message.get("body", b""), "more_body": more})
        if not more:
            return


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


def sends(*messages: Message) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return app


def answer_to(app: Any, fields: Any = None, body: bytes | None = None) -> Answer:
    found: list[Answer] = []

    async def main() -> None:
        client = await http2_client(app)
        found.append(client.answer(await client.ask(fields, body)))

    run(main())
    return found[0]


@pytest.mark.parametrize("step", [1, 7, 24, 25, 10_000])
def test_the_preface_decides_in_whatever_pieces_it_comes(step: int) -> None:
    async def main() -> None:
        client = Http2Client(http2_service(hello))
        client.h2.initiate_connection()
        client.h2.send_headers(1, GET, end_stream=True)
        data = client.h2.data_to_send()
        for at in range(0, len(data), step):
            client.connection.data_received(data[at : at + step])
        await client.go()
        assert client.answer(1) == Answer(
            200, [(b"content-length", b"3")], body=b"ok\n", ended=True
        )

    run(main())


@pytest.mark.parametrize("beginning", [b"P", b"PRI * HTTP/2.0\r\n", PREFACE[:-1]])
def test_what_only_begins_like_the_preface_is_http1(beginning: bytes) -> None:
    async def main() -> None:
        client = Http2Client(http2_service(hello))
        client.connection.data_received(beginning)
        client.connection.data_received(b"X / HTTP/1.1\r\nHost: a\r\n\r\n")
        await settle()
        assert client.transport.output.startswith(b"HTTP/1.1 ")

    run(main())


def test_without_the_setting_the_preface_is_a_request_of_an_unknown_version() -> None:
    async def main() -> None:
        service = http2_service(hello)
        service.open_http2 = None
        client = Http2Client(service)
        client.connection.data_received(PREFACE)
        await settle()
        assert client.transport.output.startswith(b"HTTP/1.1 505 ")

    run(main())


def test_the_scope_is_made_of_the_pseudo_header_fields() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await hello(scope, receive, send)

    fields = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/a%20b?c=d"),
        (b":authority", b"example.test:80"),
        (b"cookie", b"a=1"),
        (b"x-a", b"1"),
        (b"cookie", b"b=2"),
        (b"te", b"trailers"),
    ]
    assert answer_to(app, fields).status == 200
    scope = seen[0]
    assert scope["http_version"] == "2"
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("GET", "/a b", b"/a%20b")
    assert scope["query_string"] == b"c=d"
    assert scope["headers"] == [
        (b"host", b"example.test:80"),
        (b"cookie", b"a=1; b=2"),
        (b"x-a", b"1"),
        (b"te", b"trailers"),
    ]


def test_headers_of_a_block_that_comes_again_are_not_shared() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        count = len(scope["headers"])
        scope["headers"].append((b"x", b"y"))
        await send(START)
        await send({**BODY, "body": b"%d" % count})

    async def main() -> None:
        client = await http2_client(app)
        for _ in range(4):
            assert client.answer(await client.ask()).body == b"1"

    run(main())


def test_a_body_goes_through_and_its_end_with_it() -> None:
    answer = answer_to(echo, POST, b"abc" * 1000)
    assert (answer.status, answer.body, answer.ended) == (200, b"abc" * 1000, True)


def test_fields_of_the_connection_are_left_out_of_answers() -> None:
    headers = [
        (b"Connection", b"close"),
        (b"Keep-Alive", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h2c"),
        (b"X-A", b"b"),
    ]
    answer = answer_to(sends({**START, "headers": headers}, BODY))
    assert answer.headers == [(b"x-a", b"b"), (b"content-length", b"3")]


@pytest.mark.parametrize(
    ("method", "status", "length", "body"),
    [
        (b"HEAD", 200, [(b"content-length", b"3")], b""),
        (b"GET", 204, [], b""),
        (b"GET", 304, [], b""),
        (b"GET", 404, [(b"content-length", b"3")], b"ok\n"),
    ],
)
def test_some_answers_have_no_body(method: bytes, status: int, length: Any, body: bytes) -> None:
    fields = [(b":method", method), *GET[1:]]
    answer = answer_to(sends({**START, "status": status}, BODY), fields)
    assert (answer.status, answer.headers, answer.body) == (status, length, body)
    assert answer.ended


def test_an_answer_in_parts_ends_when_its_last_part_does() -> None:
    answer = answer_to(sends(START, {**BODY, "more_body": True}, {**BODY, "body": b""}))
    assert (answer.headers, answer.body, answer.ended) == ([], b"ok\n", True)


def test_trailers_end_an_answer() -> None:
    trailers = {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]}
    answer = answer_to(sends({**START, "trailers": True}, BODY, trailers))
    assert (answer.body, answer.trailers, answer.ended) == (b"ok\n", [(b"x-sum", b"1")], True)


def test_early_hints_come_before_the_head() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a>; rel=preload"]}
    answer = answer_to(sends(hint, START, BODY))
    assert answer.early == [(103, [(b"link", b"</a>; rel=preload")])]
    assert answer.body == b"ok\n"


def test_who_waits_for_100_gets_it_once_the_application_asks() -> None:
    async def main() -> None:
        client = await http2_client(echo)
        number = await client.ask([*POST, (b"expect", b"100-continue")], end=False)
        assert [status for status, _ in client.answer(number).early] == [100]
        client.h2.send_data(number, b"x", end_stream=True)
        await client.go()
        assert client.answer(number).body == b"x"

    run(main())


def test_trailers_of_a_request_end_it_and_are_dropped() -> None:
    async def main() -> None:
        client = await http2_client(echo)
        number = await client.ask(POST, b"abc", end=False)
        client.h2.send_headers(number, [(b"x-sum", b"1")], end_stream=True)
        await client.go()
        assert (client.answer(number).body, client.answer(number).ended) == (b"abc", True)

    run(main())


def test_an_application_that_raises_is_a_500_and_others_go_on() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise RuntimeError
        await hello(scope, receive, send)

    async def main() -> None:
        client = await http2_client(app)
        bad = await client.ask([*GET[:2], (b":path", b"/bad"), GET[3]])
        good = await client.ask()
        assert (client.answer(bad).status, client.answer(good).status) == (500, 200)

    run(main())


def test_an_answer_that_stops_halfway_is_reset() -> None:
    answer = answer_to(sends(START, {**BODY, "more_body": True}))
    assert (answer.body, answer.ended, answer.reset) == (b"ok\n", False, 2)


def test_one_stream_that_waits_holds_up_no_other() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                await go.wait()
            await hello(scope, receive, send)

        client = await http2_client(app)
        slow = await client.ask([*GET[:2], (b":path", b"/slow"), GET[3]])
        quick = await client.ask()
        assert client.answer(quick).ended
        assert not client.answer(slow).status
        go.set()
        await client.go()
        assert client.answer(slow).ended

    run(main())


def test_answers_of_one_turn_leave_in_one_write() -> None:
    async def main() -> None:
        client = await http2_client(hello)
        writes: list[int] = []
        write = client.wire._write
        client.wire._write = lambda data: (writes.append(len(data)), write(data))[1]  # type: ignore[func-returns-value]
        for number in (1, 3, 5, 7):
            client.h2.send_headers(number, GET, end_stream=True)
        await client.go()
        assert all(client.answer(number).ended for number in (1, 3, 5, 7))
        assert len(writes) == 1

    run(main())


def test_a_reset_of_the_peer_ends_one_request_only() -> None:
    gone: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            assert message["type"] == "http.request"
        gone.append(scope["path"])

    async def main() -> None:
        client = await http2_client(app)
        first, second = await client.ask(), await client.ask()
        client.h2.reset_stream(first, 8)
        await client.go()
        assert gone == ["/"]
        assert list(client.wire.streams) == [second]
        client.connection.connection_lost(None)
        await settle()
        assert gone == ["/", "/"]

    run(main())


def test_idle_connections_are_told_and_closed() -> None:
    async def main() -> None:
        service = http2_service(hello, timeouts=Timeouts(keep_alive_timeout=5.0))
        client = await Http2Client(service).begin()
        number = await client.ask()
        for now in (1.0, 2.0, 7.0):
            client.connection.sweep(now)
        await client.go()
        assert client.goaways == [(number, 0)]
        assert client.transport.half_closed

    run(main())


def test_a_websocket_needs_no_offer_to_be_refused_where_none_are_served() -> None:
    answer = answer_to(hello, HANDSHAKE)
    assert answer.reset == 1
