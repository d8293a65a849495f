"""One connection: every deadline by a sweep of its own clock, lingering, PROXY headers, limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pounce.asgi import Receive, Scope, Send
from pounce.worker.connection import (
    Connection,
)
from pounce.worker.service import Service, Timeouts
from tests.support.transport import MemoryTransport, connect, make_service, settle

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
NEVER = Timeouts(0, 0, 0, 0, 0, 0)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def reads_all(scope: Scope, receive: Receive, send: Send) -> None:
    while (message := await receive()).get("more_body", False):
        pass
    if message["type"] == "http.request":
        await hello(scope, receive, send)


async def waits(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


class Swept:
    """A connection and its clock, which only sweep() moves."""

    def __init__(self, service: Service, transport: MemoryTransport | None = None) -> None:
        self.service = service
        self.transport = transport or MemoryTransport()
        self.connection: Connection = connect(service, self.transport)

    def sweep(self, seconds: float, *, steps: int = 1) -> None:
        for _ in range(steps):
            self.service.clock.now += seconds
            self.connection.sweep(self.service.clock.now)

    def finish(self) -> None:
        """As the event loop ends it."""
        for task in self.service.running.values():
            task.cancel()
        self.connection.connection_lost(None)


def played(
    story: Callable[[Swept], Awaitable[None]],
    *,
    app: Any = hello,
    timeouts: Timeouts = NEVER,
    **rest: Any,
) -> Swept:
    async def main() -> Swept:
        one = Swept(make_service(app, timeouts=timeouts, **rest))
        await story(one)
        one.finish()
        await settle()
        return one

    return asyncio.run(main())


# Who is given up when, with every other limit off


@pytest.mark.parametrize(
    ("timeouts", "sent", "status"),
    [
        (Timeouts(5, 0, 0, 0, 0, 0), b"", b""),
        (Timeouts(0, 5, 0, 0, 0, 0), b"GET / HT", b"408"),
        (Timeouts(0, 0, 5, 0, 0, 0), POST + b"x", b"408"),
        (Timeouts(0, 0, 0, 0, 5, 0), GET, b"200"),
    ],
    ids=["silent", "head", "body", "keep-alive"],
)
def test_each_limit_closes_what_it_is_for_and_not_before(
    timeouts: Timeouts, sent: bytes, status: bytes
) -> None:
    async def story(one: Swept) -> None:
        if sent:
            one.connection.data_received(sent)
        await settle()
        one.sweep(0.0)  # it is seen to wait
        one.sweep(4.9)
        assert one.transport.state == "open"
        assert not one.transport.half_closed
        one.sweep(0.2)
        assert one.transport.half_closed or one.transport.state == "closing"
        assert one.transport.output[9:12] == status
        assert one.transport.output.count(b"HTTP/1.1") == (1 if status else 0)

    played(story, app=reads_all, timeouts=timeouts)


def test_with_all_limits_off_nobody_is_given_up() -> None:
    async def story(one: Swept) -> None:
        for data in (b"", b"GET / HT", b"TP/1.1\r\nHost: a\r\n\r\n"):
            if data:
                one.connection.data_received(data)
            await settle()
            one.sweep(1e6, steps=3)
        assert one.transport.state == "open"
        assert not one.transport.half_closed

    played(story)


def test_a_dripped_head_is_not_progress() -> None:
    async def story(one: Swept) -> None:
        for byte in b"GET / HTTP/1.1":
            one.connection.data_received(bytes([byte]))
            one.sweep(1.0)
        assert one.transport.output.startswith(b"HTTP/1.1 408 ")

    played(story, timeouts=Timeouts(0, 5, 0, 0, 0, 0))


def test_a_body_that_comes_steadily_is_not_given_up_and_one_that_drips_is() -> None:
    timeouts = Timeouts(0, 0, 5, 100, 0, 0)

    async def steady(one: Swept) -> None:
        one.connection.data_received(POST)
        for _ in range(9):
            await settle()
            one.connection.data_received(b"x" * 110)
            one.sweep(1.0)
        assert not one.transport.output

    async def drips(one: Swept) -> None:
        one.connection.data_received(POST)
        for _ in range(9):
            await settle()
            one.connection.data_received(b"x")
            one.sweep(1.0)
        assert one.transport.output.startswith(b"HTTP/1.1 408 ")

    played(steady, app=reads_all, timeouts=timeouts)
    played(drips, app=reads_all, timeouts=timeouts)


def test_a_client_that_sends_one_body_after_the_other_is_not_given_up() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(POST.replace(b"1000", b"100000") + b"x" * 99_000)
        for _ in range(20):  # each sweep finds it within a body, though of another request
            await settle()
            one.sweep(1.0)
            one.connection.data_received(b"x" * 1000)
            await settle()
            one.connection.data_received(POST.replace(b"1000", b"2000") + b"x" * 1000)
        assert b"408" not in one.transport.output
        assert one.transport.output.count(b"200 OK") == 20

    played(story, app=reads_all, timeouts=Timeouts(0, 0, 5, 100, 0, 0))


def test_an_application_that_does_not_read_is_not_blamed_on_the_client() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(POST.replace(b"1000", b"1000000"))
        one.connection.data_received(b"x" * 100_000)
        await settle()
        assert not one.transport.reading
        one.sweep(10.0, steps=5)
        assert not one.transport.output
        assert one.transport.state == "open"

    played(story, app=waits, timeouts=Timeouts(0, 0, 5, 100, 0, 0))


def test_a_peer_that_stops_reading_is_aborted_and_one_that_reads_slowly_is_not() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(GET)
        await settle()
        for left in (9000, 8000, 7000):
            one.transport.unsent = left
            one.sweep(4.0)
            one.sweep(0.5)
        assert one.transport.state == "open"
        one.sweep(4.6)
        assert one.transport.state == "aborted"

    played(story, timeouts=Timeouts(0, 0, 0, 0, 0, 5))


def test_a_running_application_is_never_hurried() -> None:
    async def story(one: Swept) -> None:
        one.connection.data_received(GET)
        await settle()
        one.sweep(1000.0, steps=5)
        assert one.transport.state == "open"

    played(story, app=waits, timeouts=Timeouts(1, 1, 1, 1, 1, 1))


def test_the_keep_alive_limit_begins_anew_with_each_request() -> None:
    async def story(one: Swept) -> None:
        for _ in range(5):
            one.connection.data_received(GET)
            await settle()
            one.sweep(0.0)
            one.sweep(4.0)
        assert one.transport.output.count(b"200 OK") == 5
        assert not one.transport.half_closed

    played(story, timeouts=Timeouts(0, 0, 0, 0, 5, 0))
