"""What a hostile client of HTTP/2 may do, and where it ends; numbers as in the settings."""

from __future__ import annotations

import asyncio
import struct

import pytest

from pounce.asgi import Receive, Scope, Send
from pounce.worker.wire.h2_abuse import Allowance, Bucket
from tests.support.h2 import (
    GET,
    POST,
    Http2Client,
    block,
    frame,
    headers,
    http2_client,
    http2_service,
    raw_client,
)
from tests.support.transport import settle
from tests.worker.wire.test_h2 import hello, run

CALM = 11
RUNNING: set[object] = set()


async def waits(scope: Scope, receive: Receive, send: Send) -> None:
    """Does not return when its client leaves."""
    me = object()
    RUNNING.add(me)
    try:
        await asyncio.Event().wait()
    finally:
        RUNNING.discard(me)


def post(stream: int) -> bytes:
    return headers(stream, *POST, flags=4)


def numbers(count: int) -> range:
    return range(1, 2 * count, 2)


RST = struct.pack(">I", 8)
FLOODS: dict[str, bytes] = {
    "resets": b"".join(headers(n) + frame(3, 0, n, RST) for n in numbers(1000)),
    "window updates of nothing": b"".join(
        headers(n) + frame(8, 0, n, bytes(4)) for n in numbers(1000)
    ),
    "windows that overflow": b"".join(
        headers(n) + frame(8, 0, n, b"\x7f\xff\xff\xff") for n in numbers(2000)
    ),
    "DATA behind the end": b"".join(headers(n) + frame(0, 0, n, b"x") for n in numbers(1000)),
    "malformed requests": b"".join(headers(n, *GET, (b"X", b"y")) for n in numbers(1000)),
    "SETTINGS": frame(4, 0, 0) * 2000,
    "PING": frame(6, 0, 0, bytes(8)) * 2000,
    "empty DATA": post(1) + frame(0, 0, 1) * 2000,
    "DATA of padding": post(1) + frame(0, 8, 1, b"\x05" + bytes(5)) * 2000,
    "PRIORITY": frame(2, 0, 1, struct.pack(">IB", 0, 1)) * 2000,
    "PRIORITY_UPDATE": frame(16, 0, 0, struct.pack(">I", 1) + b"u=1") * 2000,
    "unknown frames": frame(77, 0, 0, b"x") * 2000,
    "WINDOW_UPDATE": frame(8, 0, 0, struct.pack(">I", 1)) * 3000,
    "large SETTINGS": frame(4, 0, 0, struct.pack(">HI", 1, 4096) * 2000) * 100,
    "streams over the limit": b"".join(headers(n) for n in numbers(2000)),
    "CONTINUATION": frame(1, 1, 1, block(*GET)) + frame(9, 0, 1, b"") * 2000,
    "CONTINUATION of much": frame(1, 1, 1) + frame(9, 0, 1, b"\x82" * 16384) * 2000,
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_the_connection_and_leaves_no_more_at_work_than_may_be(name: str) -> None:
    async def main() -> None:
        client = await raw_client(waits)
        flood = FLOODS[name]
        for at in range(0, len(flood), 65536):
            client.connection.data_received(flood[at : at + 65536])
        await settle()
        client._note()
        assert client.goaways == [(client.goaways[0][0], CALM)]
        assert client.transport.half_closed
        assert len(client.transport.output) < 256 * 1024
        assert len(RUNNING) <= 100
        for task in list(client.connection._service.running.values()):
            task.cancel()
        await settle()

    run(main())


@pytest.mark.parametrize("name", ["resets", "DATA behind the end"])
def test_handlers_of_streams_that_were_reset_count_until_they_return(name: str) -> None:
    async def main() -> None:
        rules = {"max_streams": 10}
        client = await raw_client(waits, rules=rules)
        size = len(FLOODS[name]) // 1000 * 50  # fifty of them, within every allowance
        await client.say_raw(FLOODS[name][:size])
        assert not client.goaways
        assert len(RUNNING) == 10
        refused = [n for n, code in client.resets if code == 7]
        assert refused
        for task in list(client.connection._service.running.values()):
            task.cancel()
        await settle()
        await client.say_raw(headers(1001))
        assert len(RUNNING) == 1
        for task in list(client.connection._service.running.values()):
            task.cancel()
        await settle()

    run(main())


def test_streams_over_the_limit_are_refused_and_the_connection_lives() -> None:
    async def main() -> None:
        client = await raw_client(waits)
        await client.say_raw(b"".join(headers(n) for n in numbers(400)))
        assert len(client.wire.streams) == 100
        assert client.resets == [(n, 7) for n in range(201, 800, 2)]
        assert not client.goaways
        for task in list(client.connection._service.running.values()):
            task.cancel()
        await settle()

    run(main())


def test_a_bomb_of_references_is_not_unpacked() -> None:
    """8 kB of them to an entry of 4 kB would be 16 MB (CVE-2016-6581)."""

    async def main() -> None:
        client = await raw_client(hello)
        entry = b"\x40\x01x\x7f\xc1\x1e" + b"a" * 4000
        await client.say_raw(frame(1, 5, 1, block(*GET) + entry + b"\xbe" * 4000))
        assert client.goaways == [(0, CALM)]

    run(main())


def test_a_bomb_of_tiny_fields_is_431() -> None:
    """Many fields of one byte each cost more than their bytes (CVE-2026-49975)."""

    async def main() -> None:
        client = await raw_client(hello)
        await client.say_raw(frame(1, 5, 1, block(*GET) + b"\x40\x01x\x01y" + b"\xbe" * 1500))
        assert not client.goaways
        assert [n for kind, _, n, _ in client.frames if kind == 1] == [1]
        await client.say_raw(frame(1, 5, 3, block(*GET) + b"\xbe" * 16000))
        assert client.goaways == [(1, CALM)]

    run(main())


def test_a_table_that_is_larger_than_allowed_ends_the_connection() -> None:
    async def main() -> None:
        client = await raw_client(hello)
        await client.say_raw(frame(1, 5, 1, b"\x3f\xe2\x1f" + block(*GET)))
        assert client.goaways == [(0, 9)]

    run(main())


def test_a_frame_over_16_kib_is_refused_before_it_has_come() -> None:
    async def main() -> None:
        client = await raw_client(hello)
        await client.say_raw(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
        assert client.goaways == [(0, 6)]

    run(main())


def test_other_connections_do_not_notice() -> None:
    async def main() -> None:
        service = http2_service(hello)
        bad, good = Http2Client(service), await Http2Client(service).begin()
        from pounce.worker.connection import PREFACE
        from tests.support.h2 import SETTINGS

        await bad.say_raw(PREFACE + SETTINGS + FLOODS["PING"])
        assert bad.goaways
        assert good.answer(await good.ask()).ended

    run(main())


def test_an_allowance_comes_back_with_time() -> None:
    bucket = Bucket(Allowance(2, 1), 0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(2.0), bucket.take(2.0)] == [True, False]
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]


def test_credit_for_data_is_no_flood() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for at in range(3000):
            body = {"type": "http.response.body", "body": bytes(1000), "more_body": at < 2999}
            await send(body)

    async def main() -> None:
        client = await http2_client(app)
        number = await client.ask()
        assert client.answer(number).ended
        assert not client.goaways

    run(main())
