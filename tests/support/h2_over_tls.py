"""The h2 library's client over the standard library's TLS, and wsproto in one of its streams."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RemoteSettingsChanged, ResponseReceived, StreamEnded
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage
from wsproto.events import Event as WebSocketEvent

from tests.support.serverlog import PATIENCE


class H2OverTls:
    """One connection, which waits for what it has asked for.

    Attributes:
        statuses, bodies: by stream.
        ended: the streams that the server has ended.
        offers_websockets: SETTINGS_ENABLE_CONNECT_PROTOCOL has come.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket = context.wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        )
        assert self._socket.selected_alpn_protocol() == "h2"
        self._authority = f"localhost:{port}"
        self._h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.statuses: dict[int, int] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.offers_websockets = False
        self._h2.initiate_connection()
        self.flush()

    def __enter__(self) -> H2OverTls:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._socket.close()

    def flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def hear(self) -> None:
        """Takes in what comes next; its windows are always open."""
        data = self._socket.recv(65536)
        assert data, "the server has closed the connection"
        for event in self._h2.receive_data(data):
            self._take(event)
        self.flush()

    def ask(self, path: str, body: bytes = b"") -> int:
        """Begins a request; the number of its stream. A body is within the windows, and one frame.

        Args:
            body: makes a POST of it.
        """
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            number, self._fields("POST" if body else "GET", path), end_stream=not body
        )
        if body:
            self._h2.send_data(number, body, end_stream=True)
        self.flush()
        return number

    def get(self, path: str) -> tuple[int, bytes]:
        return self.finish(self.ask(path))

    def finish(self, number: int) -> tuple[int, bytes]:
        while number not in self.ended:
            self.hear()
        return self.statuses[number], self.bodies.get(number, b"")

    def websocket(self, path: str) -> int:
        """Opens one; the number of its stream."""
        while not self.offers_websockets:
            self.hear()
        number = self._h2.get_next_available_stream_id()
        method, *rest = self._fields("CONNECT", path)
        fields = [method, (":protocol", "websocket"), *rest, ("sec-websocket-version", "13")]
        self._h2.send_headers(number, fields)
        self.flush()
        while number not in self.statuses:
            self.hear()
        return number

    def send_data(self, number: int, data: bytes) -> None:
        self._h2.send_data(number, data)
        self.flush()

    def _fields(self, method: str, path: str) -> list[tuple[str, str]]:
        return [
            (":method", method),
            (":scheme", "https"),
            (":path", path),
            (":authority", self._authority),
        ]

    def _take(self, event: Event) -> None:
        match event:
            case RemoteSettingsChanged():
                changed = event.changed_settings.get(8)  # RFC 8441 section 3
                self.offers_websockets |= changed is not None and changed.new_value == 1
            case ResponseReceived(stream_id=number, headers=headers):
                assert number
                assert headers
                self.statuses[number] = int(headers[0][1])
            case DataReceived(stream_id=number, data=data):
                assert number
                assert data is not None
                self.bodies[number] = self.bodies.get(number, b"") + data
                if event.flow_controlled_length:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, number)
            case StreamEnded(stream_id=number):
                assert number
                self.ended.add(number)


class Talk:
    """A WebSocket in a stream of such a connection."""

    def __init__(self, client: H2OverTls, path: str) -> None:
        self._client = client
        self._number = client.websocket(path)
        assert client.statuses[self._number] == 200
        self._machine = Connection(ConnectionType.CLIENT)
        self._read = 0

    def say(self, text: str) -> None:
        self._client.send_data(self._number, self._machine.send(TextMessage(data=text)))

    def hear(self) -> str:
        """The next whole message."""
        text = ""
        while True:
            for event in self._next():
                assert isinstance(event, TextMessage)
                text += event.data
                if event.message_finished:
                    return text

    def close(self) -> int:
        """The code that came back."""
        self._client.send_data(self._number, self._machine.send(CloseConnection(code=1000)))
        while True:
            for event in self._next():
                if isinstance(event, CloseConnection):
                    return event.code

    def _next(self) -> list[WebSocketEvent]:
        while len(self._client.bodies.get(self._number, b"")) == self._read:
            self._client.hear()
        body = self._client.bodies[self._number]
        self._machine.receive_data(body[self._read :])
        self._read = len(body)
        return list(self._machine.events())
