"""What all HTTP/1.1 connections of a worker share. Knows no connection.

Source: RFC 9110 §5.6.7 (Date), §10.2.4 (Server).
"""

from __future__ import annotations

from collections.abc import Callable

from pounce.worker.wire.h1_head import QUICK_LIMIT, Blocks
from pounce.worker.wire.h1_request import Limits


class Http1Rules:
    """What all connections of a worker share.

    Attributes:
        common: the Date and Server lines as they go into every response.
        websockets: give a WebSocket to who asks for one; else Upgrade is ignored.
        unserved: called when one is asked for and Upgrade is ignored, or was lost on the way.
        max_requests: after so many requests a connection is closed; 0: no limit.
        quick: a head up to this size may be looked up in `blocks`: it breaks no limit.
        blocks: header fields that came before.
    """

    __slots__ = (
        "blocks",
        "common",
        "date_line",
        "limits",
        "max_requests",
        "quick",
        "server_line",
        "unserved",
        "websockets",
    )

    def __init__(
        self,
        limits: Limits,
        *,
        server: bytes = b"",
        websockets: bool = False,
        max_requests: int = 0,
    ) -> None:
        self.limits = limits
        self.server_line = b"server: " + server + b"\r\n" if server else b""
        self.websockets = websockets
        self.unserved: Callable[[], None] | None = None
        self.max_requests = max_requests
        self.quick = min(limits.smallest, QUICK_LIMIT)
        self.blocks = Blocks()
        self.set_date(b"")

    def set_date(self, date: bytes) -> None:
        """Once a second, with an IMF-fixdate (RFC 9110 §5.6.7); b"" sends none."""
        self.date_line = b"date: " + date + b"\r\n" if date else b""
        self.common = self.date_line + self.server_line
