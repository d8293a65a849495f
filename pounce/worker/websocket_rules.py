"""What all WebSockets of a worker share. Knows no setting and no WebSocket."""

from __future__ import annotations

from typing import NamedTuple

from pounce.worker.websocket_deadlines import WebSocketTimeouts
from pounce.worker.wire.websocket import FrameLimits


class WebSocketRules(NamedTuple):
    """What all WebSockets of a worker share; the settings of the same names say more.

    Attributes:
        limits: of frames and messages.
        timeouts: until a WebSocket that does not get on is given up.
        queue: bytes of messages held for an application that has not asked for them; past it
            nothing is read of the peer until half of it was taken.
        close_timeout: seconds to wait for the peer's Close once ours is out.
        level: of compression, 0 to 9, -1 for zlib's middle.
        smallest: messages below so many bytes are not compressed.
    """

    limits: FrameLimits = FrameLimits()
    timeouts: WebSocketTimeouts = WebSocketTimeouts()
    queue: int = 64 * 1024
    close_timeout: float = 10.0
    level: int = -1
    smallest: int = 32
