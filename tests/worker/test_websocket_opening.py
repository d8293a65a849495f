"""From a connection's bytes to an application's WebSocket and back, on a transport in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from wsproto import WSConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from pounce.asgi import App, Receive, Scope, Send
from pounce.worker.connection import Connection
from pounce.worker.service import Service
from pounce.worker.websocket_opening import Opening
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.wire.extensions import DeflateRules
from pounce.worker.wire.handshake import HandshakeRules
from tests.support.h2 import speak_http2
from tests.support.h2_websocket import Http2Talk
from tests.support.transport import MemoryTransport, connect, make_service, settle

HANDSHAKE = HandshakeRules(origins=frozenset({b"http://a"}), deflate=DeflateRules())


def serve(app: App) -> Service:
    service = make_service(app)
    service.rules.websockets = True
    service.open_websocket = Opening(service, handshake=HANDSHAKE, rules=WebSocketRules())
    speak_http2(service)
    return service


class Client:
    """wsproto's client on a connection of its own to `service`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.transport = MemoryTransport()
        self.connection: Connection = connect(service, self.transport)
        self.wsproto = WSConnection(ConnectionType.CLIENT)
        self._read = 0

    async def say(self, *events: Event) -> list[Event]:
        """Sends them in one piece; what comes back."""
        self.connection.data_received(b"".join(self.wsproto.send(event) for event in events))
        return await self.hear()

    async def hear(self) -> list[Event]:
        await settle()
        output = self.transport.output[self._read :]
        self._read += len(output)
        self.wsproto.receive_data(output)
        return list(self.wsproto.events())

    @property
    def is_closed(self) -> bool:
        return self.wsproto.state is ConnectionState.CLOSED


Talk = Client | Http2Talk
over = pytest.mark.parametrize("kind", [Client, Http2Talk], ids=["HTTP/1.1", "HTTP/2"])


def played(app: App, story: Callable[[Any], Awaitable[None]], kind: type[Talk] = Client) -> Talk:
    async def main() -> Talk:
        client = kind(serve(app))
        await story(client)
        client.connection.connection_lost(None)
        await settle()
        assert not client.service.running
        return client

    return asyncio.run(main())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def ask(**more: Any) -> Request:
    return Request(host="a", target="/chat?b=c", subprotocols=["x", "y"], **more)


@over
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
def test_a_conversation_from_the_request_to_the_end(deflate: bool, kind: type[Talk]) -> None:
    extensions = [PerMessageDeflate()] if deflate else []

    async def story(client: Talk) -> None:
        (accepted,) = await client.say(ask(extensions=extensions))
        assert isinstance(accepted, AcceptConnection)
        assert accepted.subprotocol == "x"
        assert len(accepted.extensions) == len(extensions)
        texts = [TextMessage(data="a"), TextMessage(data="ä" * 5000), TextMessage(data="")]
        assert await client.say(*texts) == texts
        (closed,) = await client.say(CloseConnection(code=1001, reason="tab"))
        assert isinstance(closed, CloseConnection)
        assert closed.code == 1001
        assert client.is_closed
        if kind is Client:  # and what still comes is read, lest a RST eats it
            assert client.transport.half_closed
        assert client.service.stats.requests == 1

    played(echo, story, kind)


@over
def test_the_scope_is_a_websocket_s(kind: type[Talk]) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await send({"type": "websocket.close"})

    async def story(client: Client) -> None:
        (rejected, *_) = await client.say(ask())
        assert isinstance(rejected, RejectConnection)
        assert rejected.status_code == 403

    played(app, story, kind)
    scope = scopes[0]
    assert scope["type"] == "websocket"
    assert scope["scheme"] == "ws"
    assert scope["subprotocols"] == ["x", "y"]
    assert (scope["path"], scope["query_string"]) == ("/chat", b"b=c")
    assert "method" not in scope
    assert set(scope["extensions"]) == {"websocket.http.response", "pounce.drain"}


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ((b"Origin", b"http://b"), 403),
        ((b"Sec-WebSocket-Version", b"13"), 400),
        ((b"Sec-WebSocket-Extensions", b"a;"), 400),
    ],
)
def test_a_request_that_is_not_in_order_reaches_no_application(
    header: tuple[bytes, bytes], status: int
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("was called")

    async def story(client: Client) -> None:
        (rejected, *_) = await client.say(ask(extra_headers=[header]))
        assert isinstance(rejected, RejectConnection)
        assert rejected.status_code == status
        client.connection.data_received(b"GET / HTTP/1.0\r\n\r\n")  # the connection is kept
        assert client.service.stats.requests == 1
        assert len(client.service.running) == 1
        await settle()

    played(app, story)


def test_another_version_is_answered_with_the_one_spoken_here() -> None:
    async def story(client: Client) -> None:
        client.connection.data_received(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 12\r\n\r\n"
        )
        head = client.transport.output
        assert head.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        assert b"\r\nsec-websocket-version: 13\r\n" in head
        assert b"\r\nupgrade: websocket\r\n" in head
        assert b"\r\nconnection: upgrade\r\n" in head

    played(echo, story)


def test_a_proxy_that_passes_on_half_of_the_upgrade_is_told_so() -> None:
    async def story(client: Client) -> None:
        client.connection.data_received(
            b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await settle()
        head, _, body = client.transport.output.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert body == b"Upgrade came, but Connection does not name it\n"

    played(echo, story)


def test_a_worker_that_is_going_still_opens_those_that_came_in_on_old_connections() -> None:
    async def story(client: Client) -> None:
        client.service.draining = client.service.leaving = True
        client.connection.drain()
        (accepted, *_) = await client.say(ask())
        assert isinstance(accepted, AcceptConnection)

    played(echo, story)


@over
def test_a_lost_connection_ends_the_application(kind: type[Talk]) -> None:
    codes: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        codes.append(message["code"])

    async def story(client: Client) -> None:
        await client.say(ask())

    played(app, story, kind)
    assert codes == [1006]
