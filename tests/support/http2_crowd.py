"""A connection of HTTP/2 that carries much when its server drains: requests and WebSockets."""

from __future__ import annotations

import ssl
import struct
from signal import Signals
from typing import Final

from hpack.hpack import Encoder

from tests.h2spec.peer import Peer, connect, frame
from tests.support.notes import Notes
from tests.support.server import Server

STREAMS: Final = range(1, 200, 2)
SOCKETS: Final = range(201, 241, 2)
CROSSING: Final = 241
LAST: Final = 2**31 - 1
# What its server needs.
CROWD: Final = (
    *("--http2-max-streams", "200"),
    *("--websocket-drain", "close"),
    *("--shutdown-timeout", "8"),
)


def ask(
    stream: int,
    path: bytes,
    *,
    method: bytes = b"GET",
    flags: int = 5,
    scheme: bytes = b"http",
) -> bytes:
    """HEADERS of a request, whole unless the flags say otherwise."""
    fields = [
        (b":method", method, True),
        (b":scheme", scheme, True),
        (b":path", path, True),
        (b":authority", b"localhost", True),
    ]
    if method == b"CONNECT":
        fields += [(b":protocol", b"websocket", True), (b"sec-websocket-version", b"13", True)]
        fields.sort(key=lambda field: field[0][:1] != b":")
    return frame(1, flags, stream, Encoder().encode(fields))


class Crowd:
    """100 requests in flight and 20 WebSockets on one connection to the application `mixed`.

    Args:
        tls: with ALPN of h2.
    """

    def __init__(self, server: Server, notes: Notes, tls: ssl.SSLContext | None = None) -> None:
        self._server, self._notes = server, notes
        self._scheme = b"https" if tls else b"http"
        self.peer = peer = connect(server.port, tls)
        peer.handshake()
        query = f"/hold?{notes.query}".encode()
        peer.send(*(self._ask(n, query) for n in STREAMS))
        peer.send(*(self._ask(n, b"/", method=b"CONNECT", flags=4) for n in SOCKETS))
        notes.wait_for("begun", times=len(STREAMS))
        assert peer.wait(lambda: {n for kind, _, n, _ in peer.frames if kind == 1} >= set(SOCKETS))

    def is_seen_off(self, number: Signals, code: int) -> None:
        """Sends the signal; nothing is lost, and WebSockets are closed with the code."""
        peer = self.peer
        with peer.sock:
            self._server.signal(number)
            assert until(peer, lambda: peer.goaway() is not None)
            assert goaways(peer) == [(LAST, 0)]
            peer.send(self._ask(CROSSING, b"/"))  # before we have heard, as far as it knows
            pings = [p for kind, flags, _, p in peer.frames if kind == 6 and not flags & 1]
            peer.send(frame(6, 1, 0, pings[0]))
            assert peer.wait(lambda: peer.answered(CROSSING))
            self._notes.open_gate()
            assert peer.wait(lambda: all(peer.answered(n) for n in STREAMS))
            close = struct.pack(">H", code)

            def closed(n: int) -> bool:
                return any(
                    kind == 0 and m == n and p[:1] == b"\x88" and p[2:4] == close
                    for kind, _, m, p in peer.frames
                )

            for n in SOCKETS:
                assert until(peer, lambda n=n: closed(n))
                peer.send(frame(0, 1, n, b"\x88\x82\0\0\0\0" + close))
            assert until(peer, lambda: peer.closed)
            assert goaways(peer)[-1] == (CROSSING, 0)
            assert not any(kind == 3 for kind, *_ in peer.frames)

    def _ask(self, stream: int, path: bytes, *, method: bytes = b"GET", flags: int = 5) -> bytes:
        return ask(stream, path, method=method, flags=flags, scheme=self._scheme)


def until(peer: Peer, found: object) -> bool:
    """Longer than a single wait: a drain takes its time."""
    return any(peer.wait(found) for _ in range(8))


def goaways(peer: Peer) -> list[tuple[int, int]]:
    """Last stream and code of each."""
    return [struct.unpack(">II", p[:8]) for kind, _, _, p in peer.frames if kind == 7]
