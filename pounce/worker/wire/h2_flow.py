"""In which order the answers of one HTTP/2 connection are sent: by urgency, and in turn.

Knows no frames. Responses of one urgency that their client wants one after the other are sent by
the number of their streams; the others take turns, a frame each.

Source: RFC 9218 §10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pounce.worker.wire.h2_stream import Http2Stream


class Order:
    """The streams that have something to send.

    Attributes:
        streams: by number; whoever's turn was last stands last.
    """

    __slots__ = ("streams",)

    def __init__(self) -> None:
        self.streams: dict[int, Http2Stream] = {}

    def add(self, stream: Http2Stream) -> None:
        self.streams[stream.number] = stream

    def remove(self, stream: Http2Stream) -> None:
        self.streams.pop(stream.number, None)

    def run(self, send: Callable[[Http2Stream], bool], full: Callable[[], bool]) -> None:
        """Lets them send.

        Args:
            send: sends one frame of a stream; False when no other of it can follow now.
            full: no more is taken now.
        """
        streams = self.streams
        if len(streams) == 1:
            (stream,) = streams.values()
            while not full() and send(stream):
                pass
            return
        for urgency in sorted({stream.priority.urgency for stream in streams.values()}):
            here = [each for each in streams.values() if each.priority.urgency == urgency]
            alone = [each for each in here if not each.priority.shared]
            for stream in sorted(alone, key=lambda each: each.number):
                while not full() and send(stream):
                    pass
            self._in_turn([each for each in here if each.priority.shared], send, full)
            if full():
                return

    def _in_turn(
        self,
        sharing: list[Http2Stream],
        send: Callable[[Http2Stream], bool],
        full: Callable[[], bool],
    ) -> None:
        while sharing:
            left = []
            for stream in sharing:
                if full():
                    return
                if send(stream):
                    self.streams[stream.number] = self.streams.pop(stream.number)
                    left.append(stream)
            sharing = left
