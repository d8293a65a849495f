"""A tunnel in memory: a WebSocketStream with a wire that notes its calls, and a client's frames."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from wsproto import events
from wsproto.connection import Connection, ConnectionType

from pounce.asgi import App, Headers, Message, Receive, Scope, Send
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.websocket_stream import WebSocketStream
from pounce.worker.websocket_tunnel import WebSocketTunnel
from pounce.worker.wire import RequestHead, ResponseError
from pounce.worker.wire.h1_response import trailer_lines
from pounce.worker.wire.handshake import Asked
from tests.support.transport import settle

ACCEPT: Message = {"type": "websocket.accept"}
SEND: Message = {"type": "websocket.send", "text": "x"}
CLOSE: Message = {"type": "websocket.close"}
START: Message = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"a", b"b")]}
BODY: Message = {"type": "websocket.http.response.body", "body": b"no"}
MORE: Message = {**BODY, "more_body": True}
ACCEPTED = ("accept", [(b"sec-websocket-accept", b"accepted")])
Run = Callable[[Receive, Send], Awaitable[None]]

HEAD = RequestHead(1, "GET", b"/chat?a", "1.1", [], False, False, "websocket")
ASKED = Asked(b"accepted", ["a", "b"], None)


class TunnelWire:
    """A `Wire` that notes each call down.

    Attributes:
        output: bytes sent through the accepted tunnel.
        early: bytes of the tunnel that came with the request.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.congested = False
        self.output = b""
        self.accepted = False
        self.broken = False
        self.early = b""
        self.consumed_bytes = 0
        self.receiver: WebSocketTunnel

    def accept_tunnel(self, stream: int, headers: Headers) -> None:
        trailer_lines(headers)  # raises where a header is malformed, as a wire does
        self.calls.append(("accept", list(headers)))
        self.accepted = True
        if self.early:
            self.receiver.data(self.early)

    def send_head(
        self, stream: int, status: int, headers: Headers, body: bytes, *, end: bool
    ) -> None:
        if self.broken or not 200 <= status <= 999:
            raise ResponseError(f"status is {status}")
        self.calls.append(("head", status, list(headers), body, end))

    def send_data(self, stream: int, data: bytes, *, end: bool) -> None:
        if self.accepted:
            self.output += data
            if end:
                self.calls.append(("end",))
        else:
            self.calls.append(("data", data, end))

    def consumed(self, stream: int, size: int) -> None:
        self.consumed_bytes += size

    def reset(self, stream: int, code: int) -> None:
        self.calls.append(("reset",))


class Tunnel:
    """A stream on such a wire, and the task that runs an application on it.

    Attributes:
        over: the stream, as often as it said that it is over.
    """

    def __init__(
        self,
        app: App,
        *,
        rules: WebSocketRules | None = None,
        asked: Asked = ASKED,
        early: bytes = b"",
    ) -> None:
        self.wire = TunnelWire()
        self.wire.early = early
        self.over: list[WebSocketTunnel] = []
        self.stream = WebSocketStream(
            self.wire,  # type: ignore[arg-type]  # a wire's part
            HEAD,
            asked,
            rules=rules or WebSocketRules(),
            over=self.over.append,
        )
        self.wire.receiver = self.stream
        scope = {"type": "websocket"}
        self.task = asyncio.get_running_loop().create_task(self.stream.run(app, scope))

    @property
    def sent(self) -> list[events.Event]:
        """What a client makes of the output."""
        client = Connection(ConnectionType.CLIENT)
        client.receive_data(self.wire.output)
        return list(client.events())


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
