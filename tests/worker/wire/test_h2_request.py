"""What a request's fields ask for on HTTP/2, and what is wrong with them: one stream pays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pounce.asgi import Header
from pounce.worker.wire.h1_request import Limits, Refusal
from pounce.worker.wire.h2_request import (
    Malformed,
    Priority,
    check_request,
    check_trailers,
    parse_priority,
)
from tests.support.h2 import GET, POST, http2_client
from tests.worker.wire.test_h2 import echo, hello, run

METHOD, SCHEME, PATH, AUTHORITY = GET
CONNECT = (b":method", b"CONNECT")
PROTOCOL = (b":protocol", b"websocket")


def with_value(name: bytes, value: bytes) -> list[Header]:
    """A GET with one pseudo-header field changed."""
    return [(name, value) if name == each[0] else each for each in GET]


MALFORMED: dict[str, list[Header]] = {
    "no method": [SCHEME, PATH, AUTHORITY],
    "no scheme": [METHOD, PATH, AUTHORITY],
    "no path": [METHOD, SCHEME, AUTHORITY],
    "no authority and no host": [METHOD, SCHEME, PATH],
    "method twice": [METHOD, *GET],
    "authority twice": [*GET, AUTHORITY],
    "unknown pseudo-header": [*GET, (b":a", b"b")],
    "status": [*GET, (b":status", b"200")],
    "pseudo-header behind others": [METHOD, SCHEME, PATH, (b"x", b"y"), AUTHORITY],
    "pseudo-header behind a cookie": [METHOD, SCHEME, PATH, (b"cookie", b"y"), AUTHORITY],
    "method with a space": with_value(b":method", b"GET /x"),
    "method empty": with_value(b":method", b""),
    "scheme that is none": with_value(b":scheme", b"http://a/"),
    "scheme of something else": with_value(b":scheme", b"ftp"),
    "path empty": with_value(b":path", b""),
    "path without slash": with_value(b":path", b"a"),
    "path with a space": with_value(b":path", b"/a b"),
    "path with a line end": with_value(b":path", b"/a\r\nx:y"),
    "path with a fragment": with_value(b":path", b"/a#b"),
    "path in eight bits": with_value(b":path", b"/\xff"),
    "path that is absolute": with_value(b":path", b"http://a/"),
    "path * without OPTIONS": with_value(b":path", b"*"),
    "authority empty": with_value(b":authority", b""),
    "authority with userinfo": with_value(b":authority", b"u@a.test"),
    "authority with a slash": with_value(b":authority", b"a.test/x"),
    "authority with a wrong port": with_value(b":authority", b"a.test:8x"),
    "host that differs": [*GET, (b"host", b"b.test")],
    "two hosts": [*GET, (b"host", b"a.test"), (b"host", b"a.test")],
    "name in upper case": [*GET, (b"X-A", b"b")],
    "name with a space": [*GET, (b"x a", b"b")],
    "name with a colon": [*GET, (b"x:a", b"b")],
    "name with a line end": [*GET, (b"x\r\ny", b"b")],
    "name in eight bits": [*GET, (b"x\xff", b"b")],
    "name empty": [*GET, (b"", b"b")],
    "value with NUL": [*GET, (b"x", b"a\0b")],
    "value with CR": [*GET, (b"x", b"a\rb")],
    "value with LF": [*GET, (b"x", b"a\nb")],
    "value that begins with a space": [*GET, (b"x", b" a")],
    "value that ends with a tab": [*GET, (b"x", b"a\t")],
    "value with DEL": [*GET, (b"x", b"a\x7f")],
    "connection": [*GET, (b"connection", b"close")],
    "keep-alive": [*GET, (b"keep-alive", b"5")],
    "proxy-connection": [*GET, (b"proxy-connection", b"close")],
    "upgrade": [*GET, (b"upgrade", b"h2c")],
    "transfer-encoding": [*GET, (b"transfer-encoding", b"chunked")],
    "te": [*GET, (b"te", b"gzip")],
    "length with a sign": [*GET, (b"content-length", b"+5")],
    "length empty": [*GET, (b"content-length", b"")],
    "length in other digits": [*GET, (b"content-length", b"\xd9\xa5")],
    "length of 5000 digits": [*GET, (b"content-length", b"1" * 5000)],
    "two lengths": [*GET, (b"content-length", b"5"), (b"content-length", b"6")],
    "protocol without CONNECT": [*GET, PROTOCOL],
    "CONNECT with a path": [CONNECT, PATH, AUTHORITY],
    "CONNECT with a protocol but no path": [CONNECT, PROTOCOL, SCHEME, AUTHORITY],
    "CONNECT with a protocol but no scheme": [CONNECT, PROTOCOL, PATH, AUTHORITY],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_costs_its_stream_and_no_other(fields: list[Header]) -> None:
    with pytest.raises(Malformed):
        check_request(fields, Limits(), tunnels=True)

    async def main() -> None:
        client = await http2_client(hello)
        bad = await client.ask(fields)
        assert client.answer(bad).reset == 1
        assert client.answer(await client.ask()).status == 200
        assert not client.goaways

    run(main())


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (501, [CONNECT, AUTHORITY]),
        (501, [CONNECT, (b":protocol", b"other"), SCHEME, PATH, AUTHORITY]),
        (501, with_value(b":method", b"M" * 33)),
        (414, with_value(b":path", b"/" + b"a" * 8192)),
        (431, [*GET, (b"x", b"a" * 16384)]),
        (431, [*GET, *[(b"x", b"a")] * 101]),
        (431, [*GET, *[(b"x", b"a" * 4000)] * 20]),
        (417, [*GET, (b"expect", b"else")]),
        (413, [*POST, (b"content-length", b"101")]),
    ],
)
def test_what_is_over_a_limit_is_answered(status: int, fields: list[Header]) -> None:
    limits = Limits(max_body_size=100)
    with pytest.raises(Refusal) as refusal:
        check_request(fields, limits, tunnels=True)
    assert refusal.value.status == status


def test_an_answer_of_the_server_itself_leaves_the_connection_open() -> None:
    async def main() -> None:
        client = await http2_client(hello)
        long = await client.ask([*GET, *[(b"x", b"a")] * 101])
        assert (client.answer(long).status, client.answer(long).ended) == (431, True)
        assert client.answer(await client.ask()).status == 200

    run(main())


@pytest.mark.parametrize(
    ("fields", "path"), [(with_value(b":path", b"/a?b"), b"/a?b"), ([*GET], b"/")]
)
def test_a_request_in_order_is_taken(fields: list[Header], path: bytes) -> None:
    request = check_request(fields, Limits(), tunnels=False)
    assert (request.method, request.target, request.headers) == (
        "GET",
        path,
        [(b"host", b"a.test")],
    )
    assert (request.length, request.expects, request.forwarded) == (-1, False, False)


def test_host_will_do_for_authority() -> None:
    fields = [METHOD, SCHEME, PATH, (b"x", b"y"), (b"host", b"b.test:80")]
    request = check_request(fields, Limits(), tunnels=False)
    assert request.headers == [(b"host", b"b.test:80"), (b"x", b"y")]


def test_what_a_proxy_says_is_noticed() -> None:
    fields = [*GET, (b"x-forwarded-for", b"1.2.3.4")]
    assert check_request(fields, Limits(), tunnels=False).forwarded


@pytest.mark.parametrize(
    ("value", "priority"),
    [
        (b"", Priority(3, shared=True)),
        (b"u=1", Priority(1, shared=False)),
        (b"u=5, i", Priority(5, shared=True)),
        (b"i", Priority(3, shared=True)),
        (b"i=?0", Priority(3, shared=False)),
        (b"u=9", Priority(3, shared=True)),
        (b"junk, u=0;a=b", Priority(0, shared=False)),
    ],
)
def test_priority_is_read(value: bytes, priority: Priority) -> None:
    assert parse_priority(value) == priority


@pytest.mark.parametrize(
    "field", [(b":path", b"/"), (b"X", b"y"), (b"x", b"\0"), (b"connection", b"close")]
)
def test_malformed_trailers_reset_the_stream(field: Header) -> None:
    with pytest.raises(Malformed):
        check_trailers([field], Limits())

    async def main() -> None:
        client = await http2_client(echo)
        number = await client.ask(POST, b"a", end=False)
        client.h2.send_headers(number, [field], end_stream=True)
        await client.go()
        assert client.answer(number).reset == 1
        assert not client.goaways

    run(main())


def test_too_many_trailers_are_too_many() -> None:
    with pytest.raises(Malformed):
        check_trailers([(b"x", b"y")] * 101, Limits())


@pytest.mark.parametrize(
    ("length", "body"), [(b"5", b"abc"), (b"2", b"abc"), (b"5", b""), (b"0", b"a")]
)
def test_a_body_of_another_length_resets_the_stream(length: bytes, body: bytes) -> None:
    async def main() -> None:
        client = await http2_client(echo)
        number = await client.ask([*POST, (b"content-length", length)], body)
        assert client.answer(number).reset == 1
        assert client.answer(await client.ask()).status == 200
        assert not client.goaways

    run(main())


def test_a_length_without_a_body_resets_the_stream() -> None:
    async def main() -> None:
        client = await http2_client(echo)
        number = await client.ask([*POST, (b"content-length", b"5")])
        assert client.answer(number).reset == 1

    run(main())


def test_a_body_past_the_limit_is_413() -> None:
    async def main() -> None:
        client = await http2_client(reads, limits=Limits(max_body_size=10))
        number = await client.ask(POST, b"a" * 11)
        assert client.answer(number).status == 413
        assert client.answer(await client.ask()).status == 200

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            await asyncio.sleep(0)
        await hello(scope, receive, send)

    run(main())


def test_what_a_field_says_of_its_request_is_not_lost_when_it_comes_again() -> None:
    fields = [
        *GET,
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"accept", b"*/*"),
        (b"expect", b"100-Continue"),
    ]
    for _ in range(3):
        request = check_request(fields, Limits(), tunnels=False)
        assert request.forwarded
        assert request.expects
        assert request.headers[1:] == fields[4:]


def test_fields_that_come_again_count_for_the_limits_again() -> None:
    field = (b"x-again", b"a" * 50)
    check_request([*GET, field], Limits(), tunnels=False)
    for limits in (Limits(max_field_size=56), Limits(max_head_size=200), Limits(max_headers=0)):
        with pytest.raises(Refusal):
            check_request([*GET, field], limits, tunnels=False)
