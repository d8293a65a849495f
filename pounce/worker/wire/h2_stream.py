"""One stream of an HTTP/2 connection: the `Wire` of one request or WebSocket.

Knows what is owed to its peer and to its application; frames, windows and the order of writes are
the connection's.

Source: RFC 9113 §5.1 and §8.1, RFC 8441 §5.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

from pounce.asgi import Headers
from pounce.worker.wire import Receiver, ResponseError
from pounce.worker.wire.h2_frames import CANCEL, INTERNAL_ERROR
from pounce.worker.wire.h2_hpack import status_field
from pounce.worker.wire.h2_request import Priority
from pounce.worker.wire.h2_response import ResponseBlock, trailer_block

if TYPE_CHECKING:
    from pounce.worker.wire.h2_streams import Http2Streams

UNKNOWN: Final = -1


class Answer(Enum):
    """What the application owes."""

    DUE = "the head"
    BODY = "the body"
    BODILESS = "the end of a response that has no body"
    TUNNEL = "bytes of the tunnel, until it ends"
    TRAILERS = "more trailer fields"
    GIVEN = "nothing"


_DUE, _BODY, _BODILESS, _TUNNEL = Answer.DUE, Answer.BODY, Answer.BODILESS, Answer.TUNNEL
_TRAILERS, _GIVEN = Answer.TRAILERS, Answer.GIVEN


class Http2Stream:
    """The `Wire` of one stream.

    Args:
        length: of the request's body by Content-Length, or -1.
        ended: the request is whole.
        expects: the peer waits for 100 Continue.

    Attributes:
        receiver: who gets what follows; None once nothing does.
        answer: what the application owes.
        ended: the peer has sent all.
        early: what came for a tunnel that is not accepted; None where there is none to come.
        unread: bytes that the receiver was given and has not consumed.
        body_bytes: bytes of the request's body that came.
        held: bytes to be sent.
        ending: nothing follows those, but trailers if there are any.
        trailers: block of these.
        progress, since, rate_bytes, rate_since: for who looks after deadlines.
    """

    __slots__ = (
        "_head_request",
        "_owed",
        "_pieces",
        "_taken",
        "_trailers",
        "_wire",
        "answer",
        "body_bytes",
        "early",
        "ended",
        "ending",
        "expects",
        "held",
        "length",
        "number",
        "priority",
        "progress",
        "rate_bytes",
        "rate_since",
        "receiver",
        "since",
        "trailers",
        "unread",
    )

    def __init__(
        self,
        wire: Http2Streams,
        number: int,
        *,
        head_request: bool,
        length: int,
        ended: bool,
        expects: bool,
        tunnel: bool,
        priority: Priority,
    ) -> None:
        self._wire = wire
        self.number = number
        self._head_request = head_request
        self._owed = UNKNOWN  # response body bytes to come, where their number was given
        self._pieces: deque[bytes] | None = None
        self._taken = 0  # of the first piece
        self._trailers = b""
        self.receiver: Receiver | None = None
        self.answer = _DUE
        self.length = length
        self.ended = ended
        self.expects = expects
        self.early: list[bytes] | None = [] if tunnel else None
        self.unread = 0
        self.body_bytes = 0
        self.held = 0
        self.ending = False
        self.trailers: bytes | None = None
        self.priority = priority
        self.progress: object = None
        self.since = self.rate_since = 0.0
        self.rate_bytes = 0

    # What the application's side calls.

    @property
    def would_starve(self) -> bool:
        """Its queue is longer than is good, or all queues together are."""
        held = self.held
        return held > 0 and (held > self._wire.rules.write_buffer or self._wire.full)

    @property
    def congested(self) -> bool:
        """As Wire.congested; whoever hears True will be told with resumed()."""
        if self.held and self.would_starve:
            self._wire.starve(self)
            return True
        return False

    def continue_body(self, stream: int) -> None:
        """The application wants the body: says 100 Continue if the peer waits for it."""
        if self.expects:
            self.expects = False
            if self.answer is _DUE and not self.ended:
                self._wire.machine.send_block(self.number, status_field(100), end=False, early=True)
                self._wire.soon()

    def inform(self, stream: int, status: int, headers: Headers) -> None:
        """An informational response such as 103, before the head.

        Raises:
            ResponseError: after send_head(), or a field that may not be written.
        """
        if self.answer is not _DUE:
            raise ResponseError(f"{status} after the response's head")
        block = status_field(status) + trailer_block(headers)
        self._wire.machine.send_block(self.number, block, end=False, early=True)
        self._wire.soon()

    def send_head(
        self, stream: int, status: int, headers: Headers, body: bytes, *, end: bool
    ) -> None:
        """The head and the first body bytes of the response; as Http1Output.send_head().

        What speaks of a connection is left out.

        Raises:
            ResponseError: a second head, or a status, field or length that cannot be written as it
                is. Nothing has been written then.
        """
        if self.answer is not _DUE:
            raise ResponseError("a second response head")
        block = ResponseBlock(status, headers)
        size = len(body)
        if self._head_request or status in (204, 304):
            if block.length < 0 and body and end and status != 304:  # it sends what GET would get
                block.length = size
            if status == 204:
                block.length = UNKNOWN
            body = b""
            answer = _BODILESS
        else:
            if block.length < 0 and end:
                block.length = size
            if block.length >= 0:
                if size > block.length or (end and size < block.length):
                    raise ResponseError(f"body is {size} bytes, content-length {block.length}")
                self._owed = block.length - size
            answer = _BODY
        wire = self._wire
        self.expects = False
        headless = end and not body
        wire.machine.send_block(self.number, block.finish(wire.rules.common), end=headless)
        wire.soon()
        if headless:
            self._complete()
            wire.sent_all(self)
            return
        self.answer = answer
        if body or end:
            self._put(body, end=end)

    def send_data(self, stream: int, data: bytes, *, end: bool) -> None:
        """More response body, or bytes of the tunnel.

        Args:
            data: 0 or more bytes. Not copied; do not change it afterwards.
            end: True on the last call.

        Raises:
            ResponseError: before send_head(), after `end`, past the content-length, or an end
                before it: then the stream is reset, since the peer waits for the rest.
        """
        answer = self.answer
        if answer is _BODY:
            if self._owed >= 0:
                size = len(data)
                if size > self._owed or (end and size < self._owed):
                    wrong = size - self._owed
                    self._break_off()
                    how = "longer" if wrong > 0 else "shorter"
                    raise ResponseError(f"body is {abs(wrong)} bytes {how} than content-length")
                self._owed -= size
            self._put(data, end=end)
        elif answer is _TUNNEL:
            self._put(data, end=end)
        elif answer is _BODILESS:
            if end:
                self._put(b"", end=True)
        else:
            raise ResponseError("body without a response head")

    def send_trailers(self, stream: int, headers: Headers, *, end: bool) -> None:
        """Trailer fields behind the body; a response without a body ends without them.

        Raises:
            ResponseError: a field that may not be a trailer. Nothing of this call counts then, and
                the response still has to be ended.
        """
        block = trailer_block(headers)
        if self.answer is _BODY or self.answer is _TRAILERS:
            if self._owed > 0:
                owed = self._owed
                self._break_off()
                raise ResponseError(f"body is {owed} bytes shorter than content-length")
            self.answer = _TRAILERS
            self._trailers += block
            if end:
                self.trailers = self._trailers or None
                self._put(b"", end=True)
        else:
            self.send_data(stream, b"", end=end)

    def sending_file(self, stream: int, size: int) -> bool:
        """False: what goes into frames cannot be sent by the kernel."""
        return False

    def accept_tunnel(self, stream: int, headers: Headers) -> None:
        """Answers 200: what comes and goes from here on is the tunnel's (RFC 8441 §5).

        Raises:
            ResponseError: the request did not ask for it or is answered already, or a field cannot
                be written. Nothing has been written then.
        """
        early = self.early
        if self.answer is not _DUE or early is None:
            raise ResponseError("this request cannot become a tunnel")
        block = ResponseBlock(200, headers)
        block.length = UNKNOWN
        wire = self._wire
        wire.machine.send_block(self.number, block.finish(wire.rules.common), end=False)
        wire.soon()
        self.answer, self.early = _TUNNEL, None
        for data in early:
            if self.receiver is not None:
                self.receiver.data(data)
        if self.ended and self.receiver is not None:
            self.receiver.end()

    def consumed(self, stream: int, size: int) -> None:
        """The application took `size` bytes of a body or tunnel: the peer may send as many more."""
        if self.receiver is not None:  # else all of it was given back
            self.unread -= size
            self._wire.give_credit(self, size)

    def reset(self, stream: int, code: int) -> None:
        """Breaks the stream off.

        Args:
            code: of HTTP/2; 0 for what fits.
        """
        tunnel = self.answer is _TUNNEL or self.early is not None
        self._wire.release(self)
        self._wire.cut(self, code or (CANCEL if tunnel else INTERNAL_ERROR))

    # What the connection calls.

    @property
    def awaits_body(self) -> bool:
        """The peer, and not the application, is what the request's body waits for."""
        return not (
            self.ended
            or self.unread
            or self.expects
            or self.early is not None
            or self.answer is _TUNNEL
            or self.receiver is None
        )

    def take(self, size: int) -> bytes:
        """Up to so many of the bytes that are held."""
        pieces = self._pieces
        assert pieces
        piece, at = pieces[0], self._taken
        if not at and len(piece) <= size:
            pieces.popleft()
            data = piece
            while pieces and len(data) + len(pieces[0]) <= size:
                data += pieces.popleft()
        else:
            data = piece[at : at + size]
            self._taken = at + len(data)
            if self._taken == len(piece):
                pieces.popleft()
                self._taken = 0
        self.held -= len(data)
        return data

    def drop(self) -> int:
        """Nothing more is sent; how many bytes were held."""
        held, self.held = self.held, 0
        self._pieces = None
        self.ending = False
        return held

    def resumed(self) -> None:
        if self.receiver is not None:
            self.receiver.resumed()

    def _put(self, data: bytes, *, end: bool) -> None:
        wire = self._wire
        size = len(data)
        if size and wire.send_at_once(self, data, end=end):
            if end:
                self._complete()
                wire.sent_all(self)
            return
        if size:
            if self._pieces is None:
                self._pieces = deque()
            self._pieces.append(data)
            self.held += size
            wire.held += size
        if end:
            self.ending = True
            self._complete()
        if size or end:
            wire.enqueue(self)

    def _complete(self) -> None:
        """The application has given all of its answer."""
        self.answer = _GIVEN
        self._wire.release(self)

    def _break_off(self) -> None:
        self._wire.release(self)
        self._wire.cut(self, INTERNAL_ERROR)
