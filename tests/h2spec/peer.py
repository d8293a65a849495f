"""A client that writes frames as bytes and knows what came back; it blocks, with a deadline."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Final

from pounce.worker.connection import PREFACE
from pounce.worker.wire.h2_frames import frame_head

PATIENCE: Final = 3.0  # seconds until an answer that must come is given up
SETTINGS: Final = frame_head(0, 4, 0, 0)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return frame_head(len(payload), kind, flags, stream) + payload


@dataclass
class Peer:
    """One connection.

    Attributes:
        frames: type, flags, stream and payload of each that came.
        closed: the server has closed its side.
    """

    sock: socket.socket
    frames: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    closed: bool = False
    _rest: bytes = b""

    def send(self, *data: bytes) -> None:
        with contextlib.suppress(OSError):  # what the server thinks of it came before it closed
            self.sock.sendall(b"".join(data))

    def handshake(self, settings: bytes = SETTINGS) -> None:
        """Preface and SETTINGS both ways, acknowledged."""
        self.send(PREFACE, settings)
        self.wait(lambda: any(kind == 4 and flags & 1 for kind, flags, _, _ in self.frames))
        self.send(frame(4, 1, 0))
        self.frames.clear()

    def wait(self, found: object) -> bool:
        """Until `found()` is true, or the server closes, or the patience is over."""
        assert callable(found)
        deadline = time.monotonic() + PATIENCE
        while not found():
            left = deadline - time.monotonic()
            if left <= 0 or self.closed:
                return bool(found())
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if not data:
                self.closed = True
            self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            if end > len(data):
                break
            stream = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self.frames.append((data[at + 3], data[at + 4], stream, data[at + 9 : end]))
            at = end
        self._rest = data[at:]

    def goaway(self) -> int | None:
        """The code of the first GOAWAY."""
        codes = [p for kind, _, _, p in self.frames if kind == 7]
        return int.from_bytes(codes[0][4:8], "big") if codes else None

    def reset(self, stream: int) -> int | None:
        """The code that a stream was reset with."""
        codes = [p for kind, _, n, p in self.frames if kind == 3 and n == stream]
        return int.from_bytes(codes[0], "big") if codes else None

    def answered(self, stream: int) -> bool:
        """Something ended the stream properly."""
        return any(
            n == stream and kind in (0, 1) and flags & 1 for kind, flags, n, _ in self.frames
        )

    def data(self, stream: int) -> list[int]:
        """Sizes of the DATA frames of a stream."""
        return [len(p) for kind, _, n, p in self.frames if kind == 0 and n == stream]


def connect(port: int, tls: ssl.SSLContext | None = None) -> Peer:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Peer(sock if tls is None else tls.wrap_socket(sock, server_hostname="localhost"))
