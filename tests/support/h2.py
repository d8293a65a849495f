"""An HTTP/2 client in memory: the h2 library's, or raw frames, on a Connection of any app."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hpack.hpack import Encoder

from pounce.asgi import App, Header
from pounce.worker.connection import PREFACE, Connection
from pounce.worker.service import Service
from pounce.worker.wire.h2 import Http2Wire
from pounce.worker.wire.h2_frames import frame_head
from pounce.worker.wire.h2_output import Http2Rules
from tests.support.transport import MemoryTransport, make_service, settle

CLIENT: Final = H2Configuration(
    client_side=True,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)
GET: Final[list[Header]] = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"a.test"),
]
POST: Final[list[Header]] = [(b":method", b"POST"), *GET[1:]]
HANDSHAKE: Final[list[Header]] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *GET[1:],
    (b"sec-websocket-version", b"13"),
]
SETTINGS: Final = frame_head(0, 4, 0, 0)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_head(len(payload), kind, flags, stream) + payload


def block(*fields: Header) -> bytes:
    """Fields as a header block that leaves no trace in a table."""
    return Encoder().encode([(name, value, True) for name, value in fields], huffman=False)


def headers(stream: int, *fields: Header, flags: int = 0x5) -> bytes:
    """HEADERS with END_HEADERS and END_STREAM, unless said otherwise."""
    return frame(1, flags, stream, block(*(fields or GET)))


@dataclass
class Answer:
    """What came of one stream."""

    status: int = 0
    headers: list[Header] = field(default_factory=list)
    early: list[tuple[int, list[Header]]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Header] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None


class Http2Client:
    """A client and what the server said to it.

    Attributes:
        h2: the client's machine; its windows are opened by whoever wants more.
        answers: by stream.
        goaways: last stream and code of each, as they came.
        frames: type, flags, stream and payload of each.
    """

    def __init__(self, service: Service, *, credit: bool = True) -> None:
        self.transport = MemoryTransport()
        self.connection = Connection(service)
        self.connection.connection_made(self.transport)
        self.h2 = H2Connection(CLIENT)
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.frames: list[tuple[int, int, int, bytes]] = []
        self._read = 0
        self._credit = credit

    @property
    def wire(self) -> Http2Wire:
        wire = self.connection._wire
        assert isinstance(wire, Http2Wire)
        return wire

    async def begin(self) -> Http2Client:
        self.h2.initiate_connection()
        await self.go()
        return self

    async def go(self) -> None:
        """What the client has to say is said, and what comes back is taken, until all is quiet."""
        while True:
            data = self.h2.data_to_send()
            if data:
                self.connection.data_received(data)
            await settle()
            if not self._take() and not self.h2._data_to_send:
                return

    async def say(self, data: bytes) -> None:
        """Raw bytes to the server."""
        self.connection.data_received(data)
        await self.go()

    async def say_raw(self, data: bytes) -> None:
        """The same, with what comes back only noted as frames."""
        self.connection.data_received(data)
        await settle()
        self._note()

    async def ask(
        self, fields: list[Header] | None = None, body: bytes | None = None, *, end: bool = True
    ) -> int:
        """A request; the number of its stream."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, fields or GET, end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(number, body, end_stream=end)
        await self.go()
        return number

    def answer(self, number: int) -> Answer:
        return self.answers.setdefault(number, Answer())

    def _note(self) -> bytes:
        new = self.transport.output[self._read :]
        at = 0
        while at + 9 <= len(new):
            length = int.from_bytes(new[at : at + 3], "big")
            payload = new[at + 9 : at + 9 + length]
            number = int.from_bytes(new[at + 5 : at + 9], "big")
            self.frames.append((new[at + 3], new[at + 4], number, payload))
            if new[at + 3] == 7:
                last, code = struct.unpack(">II", payload[:8])
                self.goaways.append((last, code))
            at += 9 + length
        assert at == len(new), "half a frame was written"
        self._read = len(self.transport.output)
        return new

    def _take(self) -> bool:
        new = self._note()
        if not new:
            return False
        # h2's client closes itself at a GOAWAY; ours reads on.
        at = 0
        while at + 9 <= len(new):
            end = at + 9 + int.from_bytes(new[at : at + 3], "big")
            if new[at + 3] != 7:
                for event in self.h2.receive_data(new[at:end]):
                    self._event(event)
            at = end
        return True

    def _event(self, event: Event) -> None:
        match event:
            case InformationalResponseReceived():
                status = int(event.headers[0][1])
                self.answer(event.stream_id).early.append((status, plain(event.headers[1:])))
            case ResponseReceived():
                answer = self.answer(event.stream_id)
                answer.status = int(event.headers[0][1])
                answer.headers = plain(event.headers[1:])
            case DataReceived():
                self.answer(event.stream_id).body += event.data
                if self._credit and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case TrailersReceived():
                self.answer(event.stream_id).trailers = plain(event.headers)
            case StreamEnded():
                self.answer(event.stream_id).ended = True
            case StreamReset():
                self.answer(event.stream_id).reset = int(event.error_code)
            case ConnectionTerminated():
                raise AssertionError("h2 was given a GOAWAY")

    @property
    def resets(self) -> list[tuple[int, int]]:
        """Stream and code of each RST_STREAM of the server."""
        return [(n, int.from_bytes(p, "big")) for kind, _, n, p in self.frames if kind == 3]


def plain(fields: Any) -> list[Header]:
    return [(bytes(name), bytes(value)) for name, value in fields]


def http2_service(app: App, *, rules: dict[str, Any] | None = None, **rest: Any) -> Service:
    """A service that speaks HTTP/2.

    Args:
        rules: of Http2Rules.
    """
    service = make_service(app, **rest)
    speak_http2(service, rules)
    return service


def speak_http2(service: Service, rules: dict[str, Any] | None = None) -> None:
    """Lets a service speak HTTP/2, besides."""
    shared = Http2Rules(service.rules, clock=lambda: service.clock.now, **(rules or {}))
    service.open_http2 = lambda sink, write: Http2Wire(sink, write, shared)


async def http2_client(
    app: App, *, credit: bool = True, rules: dict[str, Any] | None = None, **rest: Any
) -> Http2Client:
    """A client that has begun to speak with `app`."""
    return await Http2Client(http2_service(app, rules=rules, **rest), credit=credit).begin()


async def raw_client(app: App, *, rules: dict[str, Any] | None = None, **rest: Any) -> Http2Client:
    """A client that has sent preface and SETTINGS, and writes its frames itself."""
    client = Http2Client(http2_service(app, rules=rules, **rest))
    await client.say_raw(PREFACE + SETTINGS)
    return client
