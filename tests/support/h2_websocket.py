"""A WebSocket in one stream of an HTTP/2 connection in memory, as wsproto's client reads it."""

from __future__ import annotations

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, Event, RejectConnection, Request
from wsproto.extensions import Extension

from pounce.asgi import Header
from pounce.worker.service import Service
from tests.support.h2 import HANDSHAKE, Http2Client


class Http2Talk:
    """The same as a client of HTTP/1.1 in a test, over RFC 8441.

    Attributes:
        http2: the connection, which may be shared.
        number: of the stream; 0 before the request.
    """

    def __init__(self, service: Service, http2: Http2Client | None = None) -> None:
        self.service = service
        self._fresh = http2 is None
        self.http2 = http2 or Http2Client(service)
        self.connection = self.http2.connection
        self.transport = self.http2.transport
        self.number = 0
        self._extensions: list[Extension] = []
        self._talk: Connection | None = None
        self._read = 0

    async def say(self, *events: Event) -> list[Event]:
        """Sends them in one piece; what comes back."""
        if self._fresh:
            self._fresh = False
            await self.http2.begin()
        for event in events:
            if isinstance(event, Request):
                self._ask(event)
            else:
                assert self._talk is not None
                self.http2.h2.send_data(self.number, self._talk.send(event))
        return await self.hear()

    async def hear(self) -> list[Event]:
        await self.http2.go()
        answer = self.http2.answer(self.number)
        found: list[Event] = []
        if self._talk is None and answer.status:
            found.append(self._accepted(answer.status, answer.headers))
        if self._talk is not None and self._read < len(answer.body):
            self._talk.receive_data(answer.body[self._read :])
            self._read = len(answer.body)
            found += self._talk.events()
        return found

    @property
    def is_closed(self) -> bool:
        return self._talk is not None and self._talk.state is ConnectionState.CLOSED

    def _ask(self, request: Request) -> None:
        path = request.target.encode()
        fields = [(b":path", path) if name == b":path" else (name, v) for name, v in HANDSHAKE]
        if request.subprotocols:
            fields.append((b"sec-websocket-protocol", ", ".join(request.subprotocols).encode()))
        self._extensions = [each for each in request.extensions if isinstance(each, Extension)]
        for extension in self._extensions:
            offer = f"{extension.name}; {extension.offer()}"
            fields.append((b"sec-websocket-extensions", offer.encode()))
        fields += [(name.lower(), value) for name, value in request.extra_headers]
        self.number = self.http2.h2.get_next_available_stream_id()
        self.http2.h2.send_headers(self.number, fields)

    def _accepted(self, status: int, headers: list[Header]) -> Event:
        if status != 200:
            return RejectConnection(status_code=status, headers=headers)
        fields = dict(headers)
        agreed = fields.get(b"sec-websocket-extensions", b"").decode()
        extensions = [each for each in self._extensions if agreed.startswith(each.name)]
        for extension in extensions:
            extension.finalize(agreed)
        self._talk = Connection(ConnectionType.CLIENT, extensions)
        subprotocol = fields.get(b"sec-websocket-protocol", b"").decode() or None
        return AcceptConnection(subprotocol=subprotocol, extensions=extensions)
