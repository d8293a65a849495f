"""The writing half of an HTTP/2 connection: what its streams send, in order and in one write.

Knows windows and priorities, and no request: h2.py is the other half of the same object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from pounce.worker.wire import Sink
from pounce.worker.wire.h1_rules import Http1Rules
from pounce.worker.wire.h2_abuse import Allowance
from pounce.worker.wire.h2_flow import Order
from pounce.worker.wire.h2_frames import (
    ENABLE_CONNECT_PROTOCOL,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_RFC7540_PRIORITIES,
    settings_frame,
)
from pounce.worker.wire.h2_machine import Machine
from pounce.worker.wire.h2_response import CommonFields
from pounce.worker.wire.h2_stream import Http2Stream

# Frames are joined for one write up to here; more is written at once, to see whether it is taken.
WRITE_LIMIT: Final = 64 * 1024
# What all streams together may hold that the windows do not let out, in write_buffers.
HELD_BUFFERS: Final = 4
# A header list that is longer than this many times the limit is not even decoded to be answered.
HARD_LIST_FACTOR: Final = 4
# nghttp2: 1000 and 33 for resets, 10,000 and 330 for glitches.
RESETS: Final = Allowance(200, 33)
GLITCHES: Final = Allowance(1000, 330)


class Http2Rules:
    """What all HTTP/2 connections of a worker share; the settings of the same names say more.

    Attributes:
        http1: limits of heads and bodies, Date and Server, and whether there are WebSockets.
        clock: what a connection's buckets are filled by.
        body_timeout, body_min_rate, write_timeout: of one stream; 0 for never.
    """

    def __init__(
        self,
        http1: Http1Rules,
        *,
        clock: Callable[[], float],
        max_streams: int = 100,
        stream_window: int = 256 * 1024,
        connection_window: int = 1024 * 1024,
        resets: Allowance = RESETS,
        glitches: Allowance = GLITCHES,
        write_buffer: int = 64 * 1024,
        body_timeout: float = 30.0,
        body_min_rate: int = 240,
        write_timeout: float = 60.0,
    ) -> None:
        self.http1 = http1
        self.limits = http1.limits
        self.clock = clock
        self.max_streams = max_streams
        self.stream_window = stream_window
        self.connection_window = connection_window
        self.resets = resets
        self.glitches = glitches
        self.write_buffer = write_buffer
        self.body_timeout = body_timeout
        self.body_min_rate = body_min_rate
        self.write_timeout = write_timeout
        self.common = CommonFields(http1)

    def greeting(self) -> bytes:
        """The first frame of a connection."""
        settings = [
            (MAX_CONCURRENT_STREAMS, self.max_streams),
            (INITIAL_WINDOW_SIZE, self.stream_window),
            (MAX_HEADER_LIST_SIZE, self.limits.max_head_size),
            (NO_RFC7540_PRIORITIES, 1),
        ]
        if self.http1.websockets:
            settings.append((ENABLE_CONNECT_PROTOCOL, 1))
        return settings_frame(settings)


class Http2Output(ABC):
    """The writing half; Http2Wire in h2.py is the whole.

    Attributes:
        machine: states and windows.
        rules: what all connections share.
        congested: the transport holds more than it likes.
        held: bytes that the streams hold.
    """

    __slots__ = (
        "_flushing",
        "_order",
        "_sink",
        "_starved",
        "_write",
        "congested",
        "held",
        "machine",
        "rules",
    )

    def __init__(self, sink: Sink, write: Callable[[bytes], None], rules: Http2Rules) -> None:
        self._sink = sink
        self._write = write
        self.rules = rules
        self.machine = Machine(
            rules.greeting(),
            stream_window=rules.stream_window,
            connection_window=rules.connection_window,
            max_list_size=rules.limits.max_head_size * HARD_LIST_FACTOR,
        )
        self._order = Order()
        self._flushing = False  # flush() will be called
        self._starved: set[Http2Stream] = set()  # whose applications were told to wait
        self.congested = False
        self.held = 0

    @abstractmethod
    def sent_all(self, stream: Http2Stream) -> None:
        """h2.py: nothing of a response is left to be sent."""

    @abstractmethod
    def earn_updates(self) -> None:
        """h2.py: a DATA frame was sent, which the peer may answer with credit."""

    @property
    def full(self) -> bool:
        """The streams together hold so much that none may hold more."""
        return self.held > self.rules.write_buffer * HELD_BUFFERS

    def starve(self, stream: Http2Stream) -> None:
        """The stream's application waits until it is told that there is room."""
        self._starved.add(stream)

    def soon(self) -> None:
        """What was made leaves at the end of this turn of the loop."""
        if not self._flushing:
            self._flushing = True
            self._sink.flush_soon()

    def enqueue(self, stream: Http2Stream) -> None:
        """The stream has something to send."""
        self._order.add(stream)
        self.soon()

    def withdraw(self, stream: Http2Stream) -> None:
        """The stream has nothing to send any more."""
        self._order.remove(stream)
        self._starved.discard(stream)

    def flush(self) -> None:
        """Writes what the windows and the transport let out."""
        self._flushing = False
        if self._order.streams and not self.congested:
            self._order.run(self._send_one, self._is_full)
        self._write_out()
        if self._starved:
            self._feed()

    def send_at_once(self, stream: Http2Stream, data: bytes, *, end: bool) -> bool:
        """Sends a small piece as one frame, where nobody waits; False: it must be queued."""
        machine = self.machine
        number, size = stream.number, len(data)
        if (
            self._order.streams
            or self.congested
            or size > machine.largest
            or size > machine.room(number)
        ):
            return False
        machine.send_payload(number, data, end=end)
        self.earn_updates()
        if machine.size > WRITE_LIMIT:
            self._write_out()
        else:
            self.soon()
        return True

    def _is_full(self) -> bool:
        if self.machine.size > WRITE_LIMIT:
            self._write_out()
        return self.congested

    def _write_out(self) -> None:
        machine = self.machine
        out = machine.out
        if out:
            machine.out, machine.size = [], 0
            self._write(out[0] if len(out) == 1 else b"".join(out))

    def _send_one(self, stream: Http2Stream) -> bool:
        """One frame of a stream; False when no other can follow now."""
        machine = self.machine
        number = stream.number
        if stream.held:
            size = min(machine.room(number), machine.largest)
            if size <= 0:
                return False
            data = stream.take(size)
            self.held -= len(data)
            end = stream.ending and not stream.held and stream.trailers is None
            machine.send_payload(number, data, end=end)
            self.earn_updates()
            if stream.held:
                return True
        self._order.remove(stream)
        if not stream.ending:
            return False
        if stream.trailers is not None:
            machine.send_block(number, stream.trailers, end=True)
        elif not machine.is_ended(number):
            machine.send_payload(number, b"", end=True)
        stream.ending = False
        self.sent_all(stream)
        return False

    def _feed(self) -> None:
        """Tells those who wait that there is room."""
        for stream in [each for each in self._starved if not each.would_starve]:
            self._starved.discard(stream)
            stream.resumed()
