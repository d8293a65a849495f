"""A client of WebSockets in HTTP/2 streams that costs next to nothing: its frames are made once.

Each connection sends one message on each of its streams, in one write, and waits until all have
come back. It reads no more of HTTP/2 than how long frames are (RFC 9113 §4.1, RFC 8441).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import Final

MESSAGE: Final = b"Hello, World!"
ECHO: Final = bytes((0x81, len(MESSAGE))) + MESSAGE  # a server's frames are not masked
MASK: Final = b"\x11\x22\x33\x44"
HUGE: Final = 2**31 - 1

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK, END_HEADERS = 0x1, 0x4
INITIAL_WINDOW_SIZE, ENABLE_CONNECT_PROTOCOL = 0x4, 0x8
STATUS_200: Final = b"\x88"  # in the static table


class EchoError(Exception):
    """The server did something else than to accept and to echo."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return struct.pack(">HBBBI", size >> 8, size & 0xFF, kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A field for no table (RFC 7541 §6.2.2); both under 127 bytes."""
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


def masked(message: bytes) -> bytes:
    """A text message as a client sends it, under 126 bytes."""
    body = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(message))
    return bytes((0x81, 0x80 | len(message))) + MASK + body


def handshake(path: bytes) -> bytes:
    return b"".join(
        [
            literal(b":method", b"CONNECT"),
            literal(b":protocol", b"websocket"),
            literal(b":scheme", b"http"),
            literal(b":path", path),
            literal(b":authority", b"localhost"),
            literal(b"sec-websocket-version", b"13"),
        ]
    )


class EchoConnection:
    """One connection with as many WebSockets as it has streams."""

    def __init__(self, port: int, path: bytes, streams: int) -> None:
        self.numbers = range(1, 2 * streams, 2)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._turn = b"".join([frame(DATA, 0, n, masked(MESSAGE)) for n in self.numbers])
        self._expected = len(ECHO) * streams
        self._buffer = b""
        self._echoed = 0  # bytes of this turn
        self._accepted: set[int] = set()
        self._offered = False  # the server takes extended CONNECT
        windows = struct.pack(">HI", INITIAL_WINDOW_SIZE, HUGE)
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(SETTINGS, 0, 0, windows)
            + frame(WINDOW_UPDATE, 0, 0, (HUGE - 65535).to_bytes(4, "big"))
        )
        while not self._offered:
            self.read()
        ask = handshake(path)
        self.socket.sendall(b"".join([frame(HEADERS, END_HEADERS, n, ask) for n in self.numbers]))
        while len(self._accepted) < streams:
            self.read()

    def send(self) -> None:
        self._echoed = 0
        self.socket.sendall(self._turn)

    def read(self) -> bool:
        """Takes what has come; True once all messages of this turn are back."""
        data = self.socket.recv(65536)
        if not data:
            raise EchoError("the server closed the connection")
        data = self._buffer + data
        at = 0
        while at + 9 <= len(data):
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            kind = data[at + 3]
            if kind == DATA:
                self._echoed += end - at - 9
            else:
                number = int.from_bytes(data[at + 5 : at + 9], "big")
                self._other(kind, data[at + 4], number, data[at + 9 : end])
            at = end
        self._buffer = data[at:]
        return bool(self._accepted) and self._echoed == self._expected

    def _other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == HEADERS:
            if STATUS_200 not in payload[:4]:
                raise EchoError("a WebSocket was not accepted")
            self._accepted.add(number)
        elif kind == SETTINGS and not flags & ACK:
            pairs = struct.iter_unpack(">HI", payload)
            self._offered = (ENABLE_CONNECT_PROTOCOL, 1) in pairs
            self.socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind in (RST_STREAM, GOAWAY):
            raise EchoError(f"the server sent a frame of type {kind}")


def talk(connections: list[EchoConnection], seconds: float) -> tuple[int, float]:
    """Echoes for about so long: how many messages, in how many seconds."""
    poll = select.poll()
    by_number = {each.socket.fileno(): each for each in connections}
    for number, each in by_number.items():
        poll.register(number, select.POLLIN)
        each.send()
    turns, waiting = 0, len(connections)
    began = time.monotonic()
    while waiting:
        for number, _ in poll.poll(30_000):
            if by_number[number].read():
                turns += 1
                if time.monotonic() - began < seconds:
                    by_number[number].send()
                else:
                    waiting -= 1
    return turns * len(connections[0].numbers), time.monotonic() - began
