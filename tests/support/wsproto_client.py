"""wsproto's own client on a socket: it reads strictly what a server says, down to the handshake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from wsproto import ConnectionType, WSConnection
from wsproto.events import CloseConnection, Event, Request
from wsproto.extensions import PerMessageDeflate

from tests.support.server import Server


class WsprotoClient:
    """An open or opening WebSocket."""

    def __init__(self, server: Server, path: str, *, deflate: bool = False) -> None:
        self._raw = server.connect()
        self._wsproto = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        extensions = [PerMessageDeflate()] if deflate else []
        self.send(Request(host="test", target=path, extensions=extensions))

    def send(self, event: Event) -> None:
        self._raw.send(self._wsproto.send(event))

    def next(self) -> Event:
        """What the server says next; a Close is answered."""
        while not self._events:
            data = self._raw.socket.recv(65536)
            self._wsproto.receive_data(data or None)
            self._events += self._wsproto.events()
        event = self._events.pop(0)
        if isinstance(event, CloseConnection) and self._wsproto.state.name == "REMOTE_CLOSING":
            self.send(event.response())
        return event

    def close(self) -> None:
        self._raw.close()


@contextmanager
def wsproto_client(server: Server, path: str, *, deflate: bool = False) -> Iterator[WsprotoClient]:
    client = WsprotoClient(server, path, deflate=deflate)
    try:
        yield client
    finally:
        client.close()
