"""A tunnel on an HTTP/1.1 connection, and how much is held for whoever reads a body or a tunnel.

Knows no WebSocket: after 101 bytes go through as they are, both ways, until one side ends it.

Source: RFC 9110 §7.8 and §15.2.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pounce.asgi import Headers
from pounce.worker.wire import Receiver, ResponseError, Sink
from pounce.worker.wire.h1_output import Http1Output
from pounce.worker.wire.h1_request import LOST
from pounce.worker.wire.h1_response import ResponseFields, field_line
from pounce.worker.wire.h1_rules import Http1Rules
from pounce.worker.wire.h1_states import Reading, Writing
from pounce.worker.wire.handshake import names_websocket

# Body bytes held for an application that has not asked for them; reading pauses above the first
# and goes on below the second.
BODY_HIGH: Final = 64 * 1024
BODY_LOW: Final = 16 * 1024
SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
)
# Bytes of pipelined requests held while one is being answered; reading pauses above it.
PIPELINE_HIGH: Final = 64 * 1024

_COMPLETE, _IGNORED, _TUNNEL = Reading.COMPLETE, Reading.IGNORED, Reading.TUNNEL


class Http1Tunnel(Http1Output):
    """What a connection can be turned into; Http1Wire in h1.py is the whole."""

    __slots__ = ("_asks_for_tunnel", "_buffer", "_paused", "_receiver", "_unread", "requests")

    def __init__(self, sink: Sink, write: Callable[[bytes], None], rules: Http1Rules) -> None:
        super().__init__(sink, write, rules)
        self._receiver: Receiver | None = None
        self._buffer = b""  # a head that has begun, or requests that wait for their turn
        self._unread = 0  # body bytes the receiver was given and has not consumed
        self._paused = False
        self._asks_for_tunnel = 0  # the last of the requests that did
        self.requests = 0

    def accept_tunnel(self, stream: int, headers: Headers) -> None:
        """Answers 101: what comes and goes from here on is the tunnel's.

        What the client sent behind its request is handed on before this returns.

        Args:
            headers: of the answer, without Upgrade and Connection.

        Raises:
            ResponseError: the request did not ask for it or is answered already, or a field cannot
                be written. Nothing has been written then.
        """
        if self.writing is not Writing.DUE or self._asks_for_tunnel != self.requests:
            raise ResponseError("this request cannot become a tunnel")
        fields = ResponseFields()
        lines = [SWITCHING]
        lines += [field_line((name, value), fields) for name, value in headers]
        if not fields.date:
            lines.append(self._rules.date_line)
        if not fields.server:
            lines.append(self._rules.server_line)
        lines.append(b"\r\n")
        self._write(b"".join(lines))
        self._close = True
        self.reading, self.writing = _TUNNEL, Writing.TUNNEL
        early, self._buffer = self._buffer, b""
        if early:
            self._pass_on(early)
        if self._paused:
            self._regulate()

    def consumed(self, stream: int, size: int) -> None:
        """The application took `size` bytes of a body or tunnel."""
        self._unread -= size
        if self._paused:
            self._regulate()

    def _tunnel_for(self, method: bytes, upgrade: bytes) -> str:
        """RequestHead.tunnel of the present request, which has an Upgrade field and no body."""
        if method != b"GET" or not (names_websocket(upgrade) or upgrade == LOST):
            return ""
        if upgrade == LOST or not self._rules.websockets:
            if self._rules.unserved is not None:
                self._rules.unserved()
            return ""
        self._asks_for_tunnel = self.requests
        return "websocket"

    def _pass_on(self, data: bytes) -> None:
        """Bytes from the peer, in a tunnel."""
        assert self._receiver is not None  # until the tunnel is over
        self._unread += len(data)
        self._prompt = self._lone or None
        self._receiver.data(data)
        if self._unread > BODY_HIGH:
            self._regulate()

    def _regulate(self) -> None:
        """Pauses or resumes reading by what is held for the application, and for later."""
        limit = BODY_LOW if self._paused else BODY_HIGH
        waits = self.congested or self.reading is _COMPLETE  # else it is a head that has begun
        held = self._unread > limit or (waits and len(self._buffer) > PIPELINE_HIGH)
        pause = held and self.reading is not _IGNORED
        if pause is not self._paused:
            self._paused = pause
            (self._sink.pause if pause else self._sink.resume)()
