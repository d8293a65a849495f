"""A WebSocket client that writes the bytes it is given and reads frames one by one, for what no
library would send or show.
"""

from __future__ import annotations

from typing import Any, Final

from tests.support.frames import CLOSE, FIN
from tests.support.raw import Answer, Raw, request
from tests.support.server import Server

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3, as its answer
ACCEPTED: Final = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
VERSION: Final = "Sec-WebSocket-Version: 13"
DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate"
ASKS: Final = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    VERSION,
)


def asking(target: str, *fields: str) -> bytes:
    """The request for a WebSocket."""
    return request("GET", target, *ASKS, *fields)


class WebSocket(Raw):
    """A connection that becomes a WebSocket.

    Attributes:
        opening: the server's answer, 101.
    """

    opening: Answer

    def open(self, target: str, *fields: str, early: bytes = b"") -> None:
        """Args: early: what is sent with the request, in one segment."""
        self.send(asking(target, *fields) + early)
        self.opening = self.answer()
        assert self.opening.status == 101, self.opening
        assert self.opening.get("sec-websocket-accept") == ACCEPTED

    def frame(self) -> tuple[int, bytes]:
        """First byte and payload of the next frame."""
        first, size = self.read(2)  # a mask would make it more than 127, and is none of a server's
        if size > 125:
            size = int.from_bytes(self.read(2 if size == 126 else 8), "big")
        return first, self.read(size)

    def closed(self) -> tuple[int, str]:
        """Code and reason of a Close, which must be the next frame; 1005 for none."""
        first, payload = self.frame()
        assert first == FIN | CLOSE, (first, payload)
        if not payload:
            return 1005, ""
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()


def opened(server: Server, target: str, *fields: str, **options: Any) -> WebSocket:
    """An open WebSocket; `options` as of Raw, `early` as of open()."""
    early = options.pop("early", b"")
    socket = WebSocket(server.addresses[0], **options)
    try:
        socket.open(target, *fields, early=early)
    except BaseException:
        socket.close()
        raise
    return socket
