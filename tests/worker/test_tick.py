"""A worker as its master sees it, when a connection is broken or the application does not stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from pounce import ipc
from pounce.asgi import Message, Receive, Scope, Send
from pounce.worker import worker as worker_module
from pounce.worker.connection import Connection
from pounce.worker.lifespan import Lifespan
from pounce.worker.service import Service, Timeouts
from pounce.worker.websocket_opening import Opening
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.websocket_tunnel import WebSocketTunnel
from pounce.worker.wire.handshake import HandshakeRules
from pounce.worker.worker import sweep_interval
from tests.support.at_work import HUNG, at_work, collector_kept
from tests.support.transport import MemoryTransport, make_service
from tests.worker.test_connection import hello

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SILENT = Timeouts(silent_timeout=0.2)


class Broken(Connection):
    """Its deadlines cannot be looked at, nor can it be cut."""

    looks = 0

    def sweep(self, now: float) -> None:
        self.looks += 1
        raise RuntimeError("no deadlines")

    def cut(self, reason: str) -> None:
        super().cut(reason)
        raise RuntimeError("no end")


@pytest.fixture
def as_before() -> Iterator[None]:
    with collector_kept():
        yield


def joined(connection: Connection) -> tuple[Connection, MemoryTransport]:
    transport = MemoryTransport()
    connection.connection_made(transport)
    return connection, transport


def serve_websockets(service: Service) -> None:
    service.rules.websockets = True
    service.open_websocket = Opening(service, handshake=HandshakeRules(), rules=WebSocketRules())


def test_a_connection_whose_deadlines_fail_is_cut_and_the_others_have_theirs(
    as_before: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "TICK", 0.05)

    async def main() -> None:
        service = make_service(hello, timeouts=SILENT)
        async with at_work(service, Lifespan(hello, mode="off")) as master:
            broken = [joined(Broken(service)) for _ in range(4)]
            others = [joined(Connection(service)) for _ in range(4)]
            await master.hear(ipc.Heartbeat)
            async with asyncio.timeout(HUNG):
                while any(transport.state == "open" for _, transport in others):
                    await asyncio.sleep(0)
            for connection, transport in broken:
                assert isinstance(connection, Broken)
                assert transport.state == "aborted"
                assert connection.looks == 1
            for connection, _ in [*others, *broken]:
                connection.connection_lost(None)
            master.say(ipc.Drain("exit", 1.0))

    with caplog.at_level(logging.INFO, "pounce"):
        asyncio.run(main())
    texts = [record.getMessage() for record in caplog.records]
    assert (
        texts
        == ["deadlines of a connection cannot be looked at, cutting it client=127.0.0.1:50000"] * 4
    )
    assert all(record.exc_info for record in caplog.records)


def test_a_websocket_whose_deadlines_fail_is_cut_with_its_connection(
    as_before: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "TICK", 0.05)
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        heard.append(await receive())

    def fail(self: WebSocketTunnel, now: float, stalled: float) -> None:
        raise RuntimeError("no deadlines")

    monkeypatch.setattr(WebSocketTunnel, "sweep", fail)

    async def main() -> None:
        service = make_service(app)
        serve_websockets(service)
        async with at_work(service, Lifespan(app, mode="off")) as master:
            connection, transport = joined(Connection(service))
            connection.data_received(HANDSHAKE)
            async with asyncio.timeout(HUNG):
                while not heard:
                    await asyncio.sleep(0)
            assert transport.state == "aborted"
            connection.connection_lost(None)
            master.say(ipc.Drain("exit", 1.0))

    asyncio.run(main())
    assert heard == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    assert caplog.messages[0] == (
        "deadlines of a websocket cannot be looked at, cutting it client=127.0.0.1:50000"
    )


def test_requests_and_websockets_that_a_drain_cuts_are_told_apart(
    as_before: None, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = asyncio.Semaphore(0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        stuck.release()
        await asyncio.Event().wait()

    async def main() -> None:
        service = make_service(app)
        serve_websockets(service)
        async with at_work(service, Lifespan(app, mode="off")) as master:
            connections = [joined(Connection(service))[0] for _ in range(3)]
            for connection in connections[1:]:
                connection.data_received(HANDSHAKE)
            connections[0].data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in connections:
                await stuck.acquire()
            master.say(ipc.Drain("exit", 0.0))
            assert (await master.hear(ipc.Drained)).cut == 3
            for connection in connections:
                connection.connection_lost(None)

    asyncio.run(main())
    line = "drain is over, cutting what is left connections=3 requests=1 websockets=2"
    assert line in caplog.messages


@pytest.mark.parametrize("ends", [False, True])
def test_a_lifespan_shutdown_that_is_left_unfinished_is_said_to_be(
    as_before: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ends: bool
) -> None:
    monkeypatch.setattr(worker_module, "SHUTDOWN_GRACE", 30.0 if ends else 0.1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if not ends:
            await asyncio.Event().wait()
        await send({"type": "lifespan.shutdown.complete"})

    async def main() -> None:
        async with at_work(make_service(app), Lifespan(app, mode="on")) as master:
            master.say(ipc.Drain("exit", 0.0))

    asyncio.run(main())
    texts = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    unfinished = "lifespan shutdown was not over in time, leaving without its end had_s="
    assert [text.startswith(unfinished) for text in texts] == ([] if ends else [True])


@pytest.mark.parametrize(
    ("shortest", "interval"), [(0.0, 1.0), (60.0, 1.0), (2.0, 0.5), (0.01, 0.05)]
)
def test_sweeps_come_four_times_within_the_shortest_timeout(
    shortest: float, interval: float
) -> None:
    assert sweep_interval(Timeouts(0, 0, 0, 0, 75.0, shortest)) == interval
