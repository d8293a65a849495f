"""How a connection ends, drains, begins behind a proxy, and pauses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pounce.access_log import AccessLog, LineWriter
from pounce.asgi import Message, Receive, Scope, Send
from pounce.worker.connection_deadlines import (
    DRAIN_FIRST_BYTE,
    DRAIN_LINGER,
    LINGER_LONGEST,
    LINGER_TIMEOUT,
    PROXY_HEADER_TIMEOUT,
)
from pounce.worker.service import Timeouts
from tests.support.transport import MemoryTransport, make_service, settle
from tests.worker.test_connection import GET, POST, Swept, hello, played, reads_all

# Lingering


def test_after_a_refusal_input_is_dropped_for_a_moment_and_then_cut() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(b"GET / HTTP/9.9\r\n\r\n")
        assert one.transport.half_closed
        assert one.transport.state == "open"
        one.sweep(0.0)
        for _ in range(5):
            one.connection.data_received(b"more")
            one.sweep(LINGER_TIMEOUT * 0.8)
        assert one.transport.state == "open"
        one.sweep(LINGER_TIMEOUT)
        assert one.transport.state == "aborted"

    played(story)


def test_lingering_has_an_end_even_for_who_never_stops_sending() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(b"GET / HTTP/9.9\r\n\r\n")
        one.sweep(0.0)
        for _ in range(int(LINGER_LONGEST) + 1):
            one.connection.data_received(b"more")
            one.sweep(1.0)
        assert one.transport.state == "aborted"

    played(story)


def test_a_peer_that_closes_too_ends_the_lingering() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(b"GET / HTTP/9.9\r\n\r\n")
        assert one.connection.eof_received() is True
        assert one.transport.state == "closing"

    played(story)


def test_a_slow_reader_of_the_last_answer_is_waited_for() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(b"GET / HTTP/9.9\r\n\r\n")
        for left in range(20, 0, -1):
            one.transport.unsent = left
            one.sweep(LINGER_TIMEOUT)
        assert one.transport.state == "open"

    played(story, timeouts=Timeouts(0, 0, 0, 0, 0, 60))


def test_a_linger_is_begun_once_and_nothing_reopens_what_is_closing() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(b"GET / HTTP/9.9\r\n\r\n")
        one.transport.half_closed = False  # a second one would be seen
        one.connection.finish(linger=True)
        one.connection.finish(linger=False)
        one.connection.finish(linger=True)
        assert (one.transport.state, one.transport.half_closed) == ("closing", False)

    played(story)


def test_a_transport_that_has_no_half_close_is_closed() -> None:
    class Whole(MemoryTransport):
        def can_write_eof(self) -> bool:
            return False

    async def main() -> str:
        one = Swept(make_service(hello), Whole())
        one.connection.data_received(b"GET / HTTP/9.9\r\n\r\n")
        return one.transport.state

    assert asyncio.run(main()) == "closing"


# Draining


def test_a_draining_idle_connection_is_closed_after_a_short_linger() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(GET)
        await settle()
        one.sweep(0.0)
        one.sweep(100.0)
        one.service.leaving = True
        one.connection.drain()
        one.sweep(DRAIN_LINGER * 0.9)
        assert not one.transport.half_closed
        one.sweep(DRAIN_LINGER * 0.2)
        assert one.transport.half_closed

    played(story)


@pytest.mark.parametrize("silent_timeout", [0.0, 10.0])
def test_a_draining_connection_that_was_always_silent_does_not_hold_up_the_worker(
    silent_timeout: float,
) -> None:
    async def story(one: Swept) -> None:
        one.sweep(0.5)
        one.connection.drain()
        one.sweep(DRAIN_FIRST_BYTE * 0.9)
        assert one.transport.state == "open", "its first request may be on its way"
        one.sweep(DRAIN_FIRST_BYTE * 0.2)
        assert one.transport.state == "closing"

    played(story, timeouts=Timeouts(silent_timeout=silent_timeout))


def test_a_request_within_the_linger_is_answered_and_the_connection_closed() -> None:
    async def story(one: Swept) -> None:
        one.connection.drain()
        one.connection.data_received(GET)
        await settle()
        assert b"connection: close" in one.transport.output
        assert one.transport.output.endswith(b"hello")
        assert one.transport.state == "closing"

    played(story)


def test_a_connection_made_while_draining_knows_it() -> None:
    async def main() -> bytes:
        service = make_service(hello)
        service.draining = True
        one = Swept(service)
        one.connection.data_received(GET)
        await settle()
        return one.transport.output

    assert b"connection: close" in asyncio.run(main())


# Who may connect


def test_a_connection_over_the_limit_gets_503_and_is_counted() -> None:
    changes: list[int] = []

    def admit(change: int) -> bool:
        changes.append(change)
        return False

    async def story(one: Swept) -> None:
        assert one.transport.output.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"retry-after: 1\r\n" in one.transport.output
        head, _, body = one.transport.output.partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head
        assert one.transport.half_closed
        one.connection.data_received(GET)  # too late: nothing more is answered

    one = played(story, admit=admit)
    assert one.transport.output.count(b"HTTP/1.1") == 1
    assert one.service.stats.rejected == 1
    assert changes == [+1, -1]
    assert not one.service.connections


def test_a_connection_over_the_limit_has_an_access_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"

    async def main() -> None:
        access = AccessLog(LineWriter(str(path)), worker=1, form="text")
        service = make_service(hello, admit=lambda change: change < 0, access=access)
        Swept(service)
        service.flush_access()
        access.writer.close()

    asyncio.run(main())
    assert [line.split(" ", 1)[1] for line in path.read_text().splitlines()] == [
        '127.0.0.1:50000 "-" 503 0B 0us worker=1'
    ]


def test_of_those_over_the_limit_only_so_many_are_waited_for() -> None:
    async def main() -> None:
        service = make_service(hello, admit=lambda change: change < 0, turned_away_limit=2)
        first, second, third = (Swept(service) for _ in range(3))
        for one in (first, second):
            assert (one.transport.state, one.transport.half_closed) == ("open", True)
        assert third.transport.output.startswith(b"HTTP/1.1 503 ")
        assert third.transport.state == "closing"
        third.finish()
        second.finish()
        assert Swept(service).transport.half_closed, "there is room again"
        assert Swept(service).transport.state == "closing"

    asyncio.run(main())


# PROXY protocol


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    message: Message = {"type": "http.response.start", "status": 200, "headers": []}
    await send(message)
    await send({"type": "http.response.body", "body": repr(scope["client"]).encode()})


HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 443\r\n"


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_proxy_header_names_the_client_however_it_comes(step: int) -> None:
    async def story(one: Swept) -> None:
        data = HEADER + GET
        for at in range(0, len(data), step):
            one.connection.data_received(data[at : at + step])
        await settle()
        assert one.transport.output.endswith(b"('192.0.2.1', 4711)")

    played(story, app=whoami, proxy_protocol=True)


@pytest.mark.parametrize(
    ("data", "trust"),
    [(GET, ("127.0.0.1",)), (HEADER + GET, ()), (b"PROXY nonsense\r\n" + GET, ("127.0.0.1",))],
)
def test_a_missing_untrusted_or_wrong_proxy_header_is_refused(
    data: bytes, trust: tuple[str, ...]
) -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(data)
        await settle()
        assert one.transport.output.startswith(b"HTTP/1.1 400 ")
        assert one.transport.half_closed

    played(story, app=whoami, proxy_protocol=True, trust=trust)


def test_a_proxy_that_speaks_for_itself_leaves_the_addresses_as_they_are() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(b"PROXY UNKNOWN\r\n")
        one.connection.data_received(GET)
        await settle()
        assert one.transport.output.endswith(b"('127.0.0.1', 50000)")

    played(story, app=whoami, proxy_protocol=True)


def test_who_a_proxy_header_names_is_not_believed_for_the_proxys_sake() -> None:
    async def story(one: Swept) -> None:
        forged = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.66\r\n\r\n")
        one.connection.data_received(HEADER + forged)
        await settle()
        assert one.transport.output.endswith(b"('192.0.2.1', 4711)")

    played(story, app=whoami, proxy_protocol=True)


def test_a_proxy_header_that_does_not_come_is_not_waited_for() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(HEADER[:5])
        one.sweep(0.0)
        one.sweep(PROXY_HEADER_TIMEOUT)
        assert one.transport.state == "aborted"

    played(story, proxy_protocol=True)


def test_an_end_within_the_proxy_header_closes() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(HEADER[:5])
        one.connection.eof_received()
        assert one.transport.state == "aborted"

    played(story, proxy_protocol=True)


# Ends and pauses


def test_reading_pauses_while_an_application_does_not_read_and_goes_on_when_it_does() -> None:
    may_read = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await may_read.wait()
        await reads_all(scope, receive, send)

    async def story(one: Swept) -> None:
        reading: list[bool] = []
        one.connection.data_received(POST.replace(b"1000", b"200000"))
        one.connection.data_received(b"x" * 100_000)
        reading.append(one.transport.reading)
        may_read.set()
        await settle()
        reading.append(one.transport.reading)
        assert reading == [False, True]
        one.connection.data_received(b"x" * 100_000)
        await settle()
        assert one.transport.output.endswith(b"hello")

    played(story, app=app)


def test_connections_and_requests_are_counted() -> None:
    async def story(one: Swept) -> None:
        assert one.service.connections == {one.connection}
        one.connection.data_received(GET + GET)
        await settle()
        one.connection.data_received(b"GET / HTTP/9.9\r\n\r\n")

    stats = played(story).service.stats
    assert (stats.connections, stats.open, stats.rejected, stats.requests) == (1, 0, 0, 3)


def test_a_lost_connection_tells_the_application() -> None:
    seen: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await receive())
        seen.append(await receive())

    async def story(one: Swept) -> None:
        one.connection.data_received(GET)
        await settle()
        one.connection.connection_lost(ConnectionResetError("reset"))
        await settle()
        one.service.connections.add(one.connection)  # finish() ends it again

    played(story, app=app)
    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]


def test_a_full_transport_makes_send_wait_until_it_drains() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        await send({"type": "http.response.body"})

    async def story(one: Swept) -> None:
        one.connection.pause_writing()
        one.connection.resume_writing()
        one.connection.data_received(GET)
        one.connection.pause_writing()
        await settle()
        assert one.transport.output.count(b"part") == 1
        one.connection.resume_writing()
        await settle()
        assert one.transport.output.count(b"part") == 3
        assert one.transport.output.endswith(b"0\r\n\r\n")

    played(story, app=stream)


@pytest.mark.parametrize(
    ("peer", "own", "client", "server"),
    [
        (("192.0.2.7", 1), ("192.0.2.1", 80), ("192.0.2.7", 1), ("192.0.2.1", 80)),
        (("::1", 1, 0, 0), ("::1", 80, 0, 0), ("::1", 1), ("::1", 80)),
        ("", "/run/app.sock", None, ("/run/app.sock", None)),
        (b"", b"/run/app.sock", None, ("/run/app.sock", None)),
        (None, "", None, None),
    ],
)
def test_both_addresses_are_in_the_scope(peer: Any, own: Any, client: Any, server: Any) -> None:
    async def main() -> None:
        transport = MemoryTransport(peer=peer, own=own)
        one = Swept(make_service(hello), transport)
        assert one.connection.info.client == client
        assert one.connection.info._template["server"] == server

    asyncio.run(main())
