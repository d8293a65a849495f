"""The streams of one HTTP/2 connection from opening to end, and how long each is kept on with.

Knows no frames of the peer: what h2.py reads is told here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from pounce.worker.wire import Receiver, RequestHead, ResponseError, Sink
from pounce.worker.wire.h1_request import Refusal
from pounce.worker.wire.h2_abuse import UPDATES_MOST, UPDATES_PER_DATA, Bucket
from pounce.worker.wire.h2_frames import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
)
from pounce.worker.wire.h2_output import Http2Output, Http2Rules
from pounce.worker.wire.h2_request import Priority, Request
from pounce.worker.wire.h2_stream import Answer, Http2Stream

# A request whose answer is out may send on for this long, or until its window is used up, before
# its stream is reset: most bodies are on their way when they are answered.
LEFTOVER_TIMEOUT: Final = 2.0  # seconds
TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")


class Fatal(Exception):  # noqa: N818  # a verdict about the peer's bytes, not an error of ours
    """The connection is closed with GOAWAY and `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Http2Streams(Http2Output):
    """The streams; Http2Wire in h2.py is the whole.

    Attributes:
        streams: by number, those that are not over.
        requests: heads accepted so far.
        body_bytes: bytes that came, of whatever kind.
    """

    __slots__ = (
        "_announced",
        "_glitches",
        "_outlived",
        "_resets",
        "_updates",
        "body_bytes",
        "requests",
        "streams",
    )

    def __init__(self, sink: Sink, write: Callable[[bytes], None], rules: Http2Rules) -> None:
        super().__init__(sink, write, rules)
        now = rules.clock()
        self.streams: dict[int, Http2Stream] = {}
        self._outlived: list[Receiver] = []  # their streams were reset; their applications may run
        self._announced: dict[int, Priority] = {}  # of streams that are not there yet
        self._resets = Bucket(rules.resets, now)
        self._glitches = Bucket(rules.glitches, now)
        self._updates = UPDATES_MOST  # WINDOW_UPDATE frames that are paid for
        self.requests = 0
        self.body_bytes = 0

    @abstractmethod
    def stream_over(self) -> None:
        """h2.py: one stream less; if it was the last, the connection may be over too."""

    # What costs us.

    def glitch(self, number: int = 1) -> None:
        """The peer sent what gets nothing on."""
        if not self._glitches.take(self.rules.clock(), number):
            raise Fatal(ENHANCE_YOUR_CALM, "too many frames that get no request on")

    def count_reset(self) -> None:
        """A stream was reset, by the peer or because of it."""
        if not self._resets.take(self.rules.clock()):
            raise Fatal(ENHANCE_YOUR_CALM, "too many streams were reset")

    def earn_updates(self) -> None:
        if self._updates < UPDATES_MOST:
            self._updates += UPDATES_PER_DATA

    def spend_update(self) -> None:
        """The peer gave credit, which is in order as long as it gets DATA for it."""
        if self._updates > 0:
            self._updates -= 1
        else:
            self.glitch()

    # From opening to end.

    def open_stream(self, number: int, request: Request, *, ended: bool) -> None:
        """A request that is in order, or a tunnel."""
        method, target, headers, length, expects, forwarded, protocol, priority = request
        stream = Http2Stream(
            self,
            number,
            head_request=method == "HEAD",
            length=length,
            ended=ended,
            expects=expects and not ended,
            tunnel=bool(protocol),
            priority=self._announced.pop(number, priority) if self._announced else priority,
        )
        self.streams[number] = stream
        if not self._has_room():
            self.glitch()
            self.cut(stream, REFUSED_STREAM)
            return
        self.requests += 1
        head = RequestHead(
            number,
            method,
            target,
            "2",
            headers.copy(),
            not ended and not protocol,
            forwarded,
            "websocket" if protocol else "",
        )
        receiver = self._sink.open(head, stream)
        if stream.answer is not Answer.GIVEN:
            stream.receiver = receiver

    def _has_room(self) -> bool:
        """One more may run: those whose stream was reset count until their application returns.

        A client could else have any number of them at work, by sending requests and resetting them
        (CVE-2023-44487).
        """
        most = self.rules.max_streams
        if len(self.streams) + len(self._outlived) <= most:
            return True
        running = self._sink.is_running
        self._outlived = [each for each in self._outlived if running(each)]
        return len(self.streams) + len(self._outlived) <= most

    def refuse_stream(self, number: int, refusal: Refusal, *, ended: bool) -> None:
        """Answers a request that no application sees."""
        stream = Http2Stream(
            self,
            number,
            head_request=False,
            length=-1,
            ended=ended,
            expects=False,
            tunnel=False,
            priority=Priority(),
        )
        self.streams[number] = stream
        self._sink.refused(refusal.status, refusal.reason)
        stream.send_head(number, refusal.status, [TEXT], refusal.reason.encode() + b"\n", end=True)

    def give_up(self, stream: Http2Stream, status: int, reason: str) -> None:
        """The peer's part of a request does not come as it should: an answer if none was given."""
        receiver = stream.receiver
        due = stream.answer is Answer.DUE
        self.release(stream)
        if receiver is not None:
            self._outlived.append(receiver)
            receiver.gone(reason, status if due else 0)
        if due:
            try:
                stream.send_head(stream.number, status, [TEXT], reason.encode() + b"\n", end=True)
            except ResponseError:
                self.cut(stream, CANCEL)
        else:
            self.cut(stream, CANCEL)

    def fail(self, number: int, reason: str, code: int = PROTOCOL_ERROR) -> None:
        """The peer broke a rule that concerns one stream."""
        stream = self.streams.get(number)
        if stream is None:
            self.machine.cut(number, code)
            self.machine.forget(number)
        else:
            receiver = stream.receiver
            self.cut(stream, code)
            if receiver is not None:
                receiver.gone(reason)
        self.soon()
        self.count_reset()

    def release(self, stream: Http2Stream) -> None:
        """Nobody reads what comes of the stream any more: what it was given is the peer's again."""
        stream.receiver = None
        if stream.unread or stream.early:
            unread = stream.unread
            stream.unread, stream.early = 0, None
            self.machine.give_credit(0, unread)
            self.soon()

    def give_credit(self, stream: Http2Stream, size: int) -> None:
        """`size` bytes of a stream were taken."""
        self.machine.give_credit(0 if stream.ended else stream.number, size)
        if self.machine.out:
            self.soon()

    def cut(self, stream: Http2Stream, code: int) -> None:
        """Resets a stream that is not over."""
        if self.streams.get(stream.number) is stream:
            self.machine.cut(stream.number, code)
            self.soon()
            self.forget(stream, reset=True)

    def sent_all(self, stream: Http2Stream) -> None:
        if stream.ended:
            self.forget(stream)
            return
        stream.progress, stream.since = None, self.rules.clock()
        left = stream.length - stream.body_bytes
        if left > self.machine.may_send(stream.number):  # there is no point in waiting for it
            self.cut(stream, NO_ERROR)

    def forget(self, stream: Http2Stream, *, reset: bool = False) -> None:
        """The stream is over in both directions."""
        receiver = stream.receiver
        if receiver is not None and reset:
            self._outlived.append(receiver)
        if receiver is not None or stream.unread or stream.early:
            self.release(stream)
        if self._order.streams or self._starved:
            self.withdraw(stream)
        self.held -= stream.drop()
        stream.answer = Answer.GIVEN
        self.streams.pop(stream.number, None)
        self.machine.forget(stream.number)
        self.stream_over()

    def all_gone(self, reason: str) -> None:
        """No stream reaches the peer any more."""
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            receiver, stream.receiver = stream.receiver, None
            self.withdraw(stream)
            stream.drop()
            stream.answer = Answer.GIVEN
            if receiver is not None:
                receiver.gone(reason)
        self.held = 0

    # As time passes.

    def sweep(self, now: float) -> None:
        """Gives up streams whose peer does not get on with them.

        A connection that reads nothing at all is its owner's to give up.
        """
        rules = self.rules
        for stream in list(self.streams.values()):
            if stream.held or stream.ending:
                # One whose own window is open waits for its turn, or for the connection's window.
                open_window = self.machine.window(stream.number) > 0
                progress = "writes", open_window, self.machine.sent if open_window else stream.held
                if self._stands_still(stream, progress, now, rules.write_timeout):
                    receiver = stream.receiver
                    self.cut(stream, CANCEL)
                    if receiver is not None:
                        receiver.gone("the peer did not open its window in time")
            elif stream.awaits_body:
                if self._stands_still(stream, stream.body_bytes, now, rules.body_timeout):
                    self.give_up(stream, 408, "request body did not come in time")
                else:
                    self._check_rate(stream, now)
            elif stream.answer is Answer.GIVEN and not stream.ended:
                if self._stands_still(stream, "leftover", now, LEFTOVER_TIMEOUT):
                    self.cut(stream, NO_ERROR)
            else:
                stream.progress = None
        self.flush()

    def _stands_still(
        self, stream: Http2Stream, progress: object, now: float, limit: float
    ) -> bool:
        if progress != stream.progress:
            if stream.progress is None:
                stream.rate_since, stream.rate_bytes = now, stream.body_bytes
            stream.progress, stream.since = progress, now
        return limit > 0 and now - stream.since >= limit

    def _check_rate(self, stream: Http2Stream, now: float) -> None:
        """A body that comes drop by drop is progress, and yet holds a place for ever."""
        rules = self.rules
        passed = now - stream.rate_since
        if not rules.body_timeout or passed < rules.body_timeout:
            return
        if stream.body_bytes - stream.rate_bytes < rules.body_min_rate * passed:
            reason = f"request body came at under {rules.body_min_rate} bytes/s"
            self.give_up(stream, 408, reason)
        stream.rate_since, stream.rate_bytes = now, stream.body_bytes
