"""What the WebSockets of one worker have done, added up seldom and never at a message.

Knows neither frames nor the master's channel: each WebSocket counts for itself, as it must anyway
for its own deadlines and its access line, and here the sums are made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Protocol

from pounce import ipc

# To look at a WebSocket costs 0.2 microseconds, 0.6 with deflate: for 10,000 at four heartbeats a
# second that would be felt. So they are looked at once in so many seconds for each of them, which
# is half a percent of the time at most.
EACH_S: Final = 1e-4
ACCEPTED: Final = 101  # the status of one whose handshake has succeeded, also over HTTP/2


class Compressed(Protocol):
    """One direction's bytes of messages, before and after they were compressed."""

    plain: int
    packed: int


class Compression(Protocol):
    @property
    def inflater(self) -> Compressed: ...

    @property
    def deflater(self) -> Compressed: ...


class Counted(Protocol):
    """A WebSocket as it is seen here: a WebSocketTunnel, whose attributes say more."""

    status: int
    code: int
    received: int
    sent: int
    messages_received: int
    messages_sent: int

    @property
    def compression(self) -> Compression | None: ...


class _Sums:
    """Of several WebSockets."""

    __slots__ = ("messages_received", "messages_sent", "packed", "plain", "received", "sent")

    def __init__(self) -> None:
        self.received = self.sent = 0
        self.messages_received = self.messages_sent = 0
        self.plain = self.packed = 0

    def copy(self) -> _Sums:
        other = _Sums()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def add(self, websockets: Iterable[Counted]) -> int:
        """How many of them were accepted; the others have no part in it."""
        accepted = received = sent = messages_received = messages_sent = plain = packed = 0
        for each in websockets:
            if each.status != ACCEPTED:
                continue
            accepted += 1
            received += each.received
            sent += each.sent
            messages_received += each.messages_received
            messages_sent += each.messages_sent
            compression = each.compression
            if compression is not None:
                inflater, deflater = compression.inflater, compression.deflater
                plain += inflater.plain + deflater.plain
                packed += inflater.packed + deflater.packed
        self.received += received
        self.sent += sent
        self.messages_received += messages_received
        self.messages_sent += messages_sent
        self.plain += plain
        self.packed += packed
        return accepted


def kind_of(code: int) -> str:
    """As what a close code is counted: one of ipc.CLOSE_KINDS."""
    if 1000 <= code <= 1015:
        return str(code)
    if 3000 <= code <= 4999:
        return "3xxx" if code < 4000 else "4xxx"
    return "other"


class WebSocketCounts:
    """The sums of one worker.

    Attributes:
        running: applications of WebSockets that have not returned.
        unread: WebSockets whose peer is gone, while their applications take what it sent before:
            how many messages that were, and with what code it left, is known at the end.
        latest: as of the last look.
    """

    __slots__ = ("_closed", "_looked_at", "_over", "latest", "running", "unread")

    def __init__(self) -> None:
        self.running = 0
        self.unread: set[Counted] = set()
        self.latest = ipc.WebSockets()
        self._closed: dict[str, int] = {}
        self._over = _Sums()
        self._looked_at = float("-inf")

    def over(self, websocket: Counted) -> None:
        """It was accepted, and nothing of it is left; it is no longer among the open ones."""
        kind = kind_of(websocket.code)
        self._closed[kind] = self._closed.get(kind, 0) + 1
        self._over.add((websocket,))

    def look(self, websockets: Collection[Counted], now: float) -> ipc.WebSockets:
        """The sums of now, or of shortly before where a look would cost too much.

        All its numbers are of one moment, so that none of them ever falls but `open`.

        Args:
            websockets: those that are not over.
        """
        if now - self._looked_at >= len(websockets) * EACH_S:
            self._looked_at = now
            sums = self._over.copy()
            open_now = sums.add(websockets) + sums.add(self.unread)
            self.latest = ipc.WebSockets(
                open=open_now,
                opened=sum(self._closed.values()) + open_now,
                closed=dict(self._closed),
                received=sums.received,
                sent=sums.sent,
                messages_received=sums.messages_received,
                messages_sent=sums.messages_sent,
                plain=sums.plain,
                packed=sums.packed,
            )
        return self.latest
