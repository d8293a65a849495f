"""One HTTP/1.1 connection, server side: order, framing, keep-alive and limits of its requests.

Knows no socket, no clock and no application. A reader only splits heads that were checked here; the
bytes of responses are made in h1_output.py, which is the other half of the same object.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pounce.asgi import Header
from pounce.worker.wire import RequestHead, Sink
from pounce.worker.wire.chunked import ChunkedDecoder
from pounce.worker.wire.h1_head import LINE, HeadReader, check_head
from pounce.worker.wire.h1_request import (
    CHUNKED,
    METHODS,
    NO_BODY,
    Facts,
    Refusal,
    check_unfinished,
    split_target,
    with_host,
)
from pounce.worker.wire.h1_rules import Http1Rules
from pounce.worker.wire.h1_states import Reading, Writing
from pounce.worker.wire.h1_tunnel import BODY_HIGH, Http1Tunnel
from pounce.worker.wire.waiting import Waiting

# A body that nobody read is read and dropped up to here, to keep the connection (nginx does so with
# what is on its way); for more than that a new connection is cheaper.
DISCARD_LIMIT: Final = 256 * 1024
# A client may send an empty line too many before a request (RFC 9112 §2.2), not thousands.
BLANK_LINES_LIMIT: Final = 8  # before each request
CR: Final = 13
SLASH: Final = 47
BLANK_LINES: Final = re.compile(rb"(?:\r\n)*")

# Enum members as globals: an attribute of a class costs twice as much, on every request.
_HEAD, _FIXED, _CHUNKED = Reading.HEAD, Reading.FIXED, Reading.CHUNKED
_COMPLETE, _IGNORED, _TUNNEL = Reading.COMPLETE, Reading.IGNORED, Reading.TUNNEL
_IDLE, _DUE = Writing.IDLE, Writing.DUE
# What RequestHead(...) does in the end, at half the cost.
_new_tuple = tuple.__new__


class Http1Wire(Http1Tunnel):
    """The `Wire` of HTTP/1.0 and 1.1.

    Attributes:
        reading, writing: where the two halves are.
        requests: heads accepted so far.
        body_bytes: of the present request, received so far; once closing, bytes dropped.
    """

    __slots__ = (
        "_blank_before",
        "_blank_lines",
        "_block_hash",
        "_chunks",
        "_ended",
        "_left",
        "_parsing",
        "_reader",
        "body_bytes",
    )

    def __init__(
        self, reader: HeadReader, sink: Sink, write: Callable[[bytes], None], rules: Http1Rules
    ) -> None:
        super().__init__(sink, write, rules)
        self._reader = reader
        self._chunks: ChunkedDecoder | None = None
        self._left = 0  # body bytes to come; of a chunked body nobody reads, bytes worth dropping
        self._blank_lines = 0
        self._blank_before = 0  # `requests` when they were counted
        self._block_hash = 0  # of the last header block, to notice one that comes again
        self._ended = False  # the peer sends nothing more
        self._parsing = False
        self.body_bytes = 0

    def receive(self, data: bytes) -> None:
        """Bytes from the peer, 1 or more. Never raises for what they are."""
        reading = self.reading
        try:
            if reading is _HEAD:
                # Nearly always: one whole head, whose fields were the same before.
                if not self._buffer and len(data) <= self._rules.quick:
                    line = LINE.match(data)
                    known = self._rules.blocks.get(data[line.end() :]) if line else None
                    if known is not None and line is not None and not self.congested:
                        method, target = line.groups()
                        self._http11 = True
                        self._begin(method, target, known.copy(), NO_BODY)
                        return
                seen = len(self._buffer)
                self._read_heads(self._buffer + data if seen else data, seen)
            elif reading is _TUNNEL:
                self._pass_on(data)
            elif reading is _FIXED or reading is _CHUNKED:
                self._read_body(data)
            elif reading is _COMPLETE:
                self._buffer += data
                self._regulate()
            else:
                self.body_bytes += len(data)
        except Refusal as refusal:
            self._refuse(refusal)

    def receive_eof(self) -> None:
        """The peer will send nothing more. What it asked for completely is still answered."""
        self._ended = True
        reading = self.reading
        if reading is _HEAD:
            if not self._buffer:
                self._finish(linger=False)
            elif not self.congested:  # else requests are held that may be whole
                self._refuse(Refusal(400, "request head ended early"))
        elif reading is _FIXED or reading is _CHUNKED:
            self._refuse(Refusal(400, "request body ended early"))
        elif reading is _COMPLETE:
            if not self._buffer:
                self._close = True
            assert self._receiver is not None  # a request is open until it is answered
            self._receiver.half_closed()
        elif reading is _TUNNEL:
            assert self._receiver is not None
            self._receiver.end()
        else:
            self._sink.finish(linger=False)

    def lost(self, reason: str) -> None:
        """The transport is gone."""
        receiver, self._receiver = self._receiver, None
        self.reading, self.writing = _IGNORED, _IDLE
        self._buffer = b""
        self._held = None
        if receiver is not None:
            receiver.gone(reason)

    def refuse(self, status: int, reason: str) -> None:
        """The owner gives up on the peer: answers `status` where an answer is still due."""
        self._refuse(Refusal(status, reason))

    def set_congested(self, congested: bool) -> None:
        """The transport holds more than it likes, or no longer does."""
        self.congested = congested
        if congested:
            return
        if self._receiver is not None:
            self._receiver.resumed()
        if self.reading is _HEAD and self._buffer:
            self._read_held()

    def reset(self, stream: int, code: int) -> None:
        """Cuts the connection: on HTTP/1 there is no other way to break off a response."""
        self.flush()  # or a client would be cut off before it saw a status
        self._receiver = None
        self._sink.abort()
        self.reading, self.writing = _IGNORED, _IDLE

    def drain(self) -> None:
        """From now on every response is the connection's last."""
        self.draining = True

    def close_idle(self) -> None:
        """Nobody asked for anything for long enough, or will be served any more."""
        self._finish(linger=True)

    def waits_for(self) -> Waiting:
        """What it waits for, apart from what only the transport knows."""
        reading = self.reading
        if reading is _HEAD:
            if self._buffer:
                return Waiting.HEAD
            return Waiting.NEXT if self.requests else Waiting.FIRST_BYTE
        # The peer, and not the application, is what a request's body waits for.
        if (reading is _FIXED or reading is _CHUNKED) and not (self._paused or self._expects):
            return Waiting.BODY
        return Waiting.APP

    def sweep(self, now: float) -> None:
        """Nothing here has deadlines beside the connection's own."""

    def ignore(self) -> None:
        """Drops what comes from now on."""
        self.reading = _IGNORED

    @property
    def answers(self) -> bool:
        """The head of an answer is out, and the answer not complete."""
        return self.writing is not _IDLE and self.writing is not _DUE

    @property
    def ends_by_closing(self) -> bool:
        """Closing now would be the proper end of an answer that is not complete."""
        return self.writing is Writing.UNTIL_CLOSE

    def _read_heads(self, data: bytes, seen: int) -> None:
        """Reads the heads in `data`, until one must wait for the answer to the one before it."""
        self._parsing = True
        self._buffer = data
        try:
            while data and self.reading is _HEAD and not self.congested:
                if data[0] == CR:
                    data = self._skip_blank_lines(data)
                    seen = 0
                end = data.find(b"\r\n\r\n", seen - 3 if seen > 3 else 0) + 4
                self._buffer = data[end:] if end > 3 else data
                if end == 3:
                    check_unfinished(data, seen, self._rules.limits)
                    break
                self._open(data[:end])
                data = self._buffer
                seen = 0
        finally:
            self._parsing = False
        if self._paused or self.congested:
            self._regulate()

    def _read_held(self) -> None:
        """Goes on with what was held back, unless a loop further up the stack will do so."""
        if self._parsing:
            return
        try:
            self._read_heads(self._buffer, 0)
        except Refusal as refusal:
            self._refuse(refusal)
        if self._ended:
            self.receive_eof()

    def _skip_blank_lines(self, data: bytes) -> bytes:
        blank = BLANK_LINES.match(data)
        size = blank.end() if blank is not None else 0
        if self._blank_before != self.requests:
            self._blank_before, self._blank_lines = self.requests, 0
        self._blank_lines += size // 2
        if self._blank_lines > BLANK_LINES_LIMIT:
            raise Refusal(400, "empty lines in place of a request")
        return data[size:]

    def _open(self, head: bytes) -> None:
        """Checks one complete head and hands it up; reads what came of its body."""
        rules = self._rules
        method, target, self._http11, headers, facts = check_head(head, self._reader, rules.limits)
        if facts is NO_BODY:
            block = head[head.find(b"\r\n") :]
            before, self._block_hash = self._block_hash, hash(block)
            if before == self._block_hash:
                rules.blocks.add(block, headers)
        if target[0] != SLASH or method == b"CONNECT":
            target, authority = split_target(target, method)
            if authority:
                headers = with_host(headers, authority)
        if facts.length > rules.limits.max_body_size > 0:
            raise Refusal(413, f"request body over {rules.limits.max_body_size} bytes")
        self._begin(method, target, headers, facts)
        if facts.length != 0 and self._buffer:
            data, self._buffer = self._buffer, b""
            self._read_body(data)

    def _begin(self, method: bytes, target: bytes, headers: list[Header], facts: Facts) -> None:
        """A checked request: from here on an answer is due."""
        length, keep_alive, expects, upgrade, forwarded = facts
        self._head_request = method == b"HEAD"
        stream = self.requests = self.requests + 1
        self._close = not keep_alive or stream == self._rules.max_requests
        self.writing = _DUE
        if length == 0:
            self.reading = _COMPLETE
        else:
            self._expect_body(length, expects=expects)
        receiver = self._sink.open(
            _new_tuple(
                RequestHead,
                (
                    stream,
                    METHODS.get(method) or method.decode("ascii").upper(),
                    target,
                    "1.1" if self._http11 else "1.0",
                    headers,
                    length != 0,
                    forwarded,
                    self._tunnel_for(method, upgrade) if upgrade and length == 0 else "",
                ),
            ),
            self,
        )
        if self.writing is not _IDLE:
            self._receiver = receiver

    def _expect_body(self, length: int, *, expects: bool) -> None:
        self._expects = expects
        self._unread = 0
        self.body_bytes = 0
        if length == CHUNKED:
            self.reading, self._left = _CHUNKED, DISCARD_LIMIT
            self._chunks = ChunkedDecoder()
        else:
            self.reading = _FIXED
            self._left = length

    def _read_body(self, data: bytes) -> None:
        """Body bytes of a request that is open, or whose response went out without them."""
        if self.reading is _FIXED:
            pieces, rest = [data[: self._left]], data[self._left :]
            self._left -= len(pieces[0])
            done = not self._left
        else:
            assert self._chunks is not None
            pieces, rest = self._chunks.feed(data)
            done = self._chunks.done
        limit = self._rules.limits.max_body_size
        self._expects = False  # it did not wait for 100, or does no longer
        for piece in pieces:
            self.body_bytes += len(piece)
            if self.body_bytes > limit > 0:
                raise Refusal(413, f"request body over {limit} bytes")
            if self._receiver is not None:
                self._unread += len(piece)
                self._receiver.data(piece)
            elif self.reading is _CHUNKED:
                self._left -= len(piece)
        if done:
            self._chunks = None
            self._buffer = rest
            if self._receiver is not None:
                self.reading = _COMPLETE
                self._receiver.end()
            else:
                self._next()
        elif self._receiver is None and self._left <= 0:
            self._finish(linger=True)
        elif self._unread > BODY_HIGH:
            self._regulate()

    def _response_done(self) -> None:
        """The response is written whole; what becomes of the connection?"""
        self._receiver = None
        self._unread = 0
        if self._close:
            self._finish(linger=self.reading is not _COMPLETE or bool(self._buffer))
        elif self.reading is _COMPLETE:
            self.reading = _HEAD
            if self._buffer or self._paused:
                self._next()
        elif self._paused:  # the rest of the body is on its way: drop it, keep the connection
            self._regulate()

    def _next(self) -> None:
        """The request is over in both directions."""
        self.reading = _HEAD
        if self._buffer:
            self._read_held()
        elif self._paused:
            self._regulate()

    def _finish(self, *, linger: bool) -> None:
        self.reading = _IGNORED
        self._receiver = None
        self._buffer = b""
        if self._paused:
            self._regulate()
        self._sink.finish(linger=linger and not self._ended)

    def _body_left_unread(self) -> bool:
        return self.reading is _FIXED and self._left > DISCARD_LIMIT

    def _refuse(self, refusal: Refusal) -> None:
        """Answers bytes that cannot be understood, where an answer can still be written."""
        receiver, self._receiver = self._receiver, None
        writing = self.writing
        if receiver is not None:
            receiver.gone(refusal.reason, refusal.status if writing is _DUE else 0)
        if writing is _DUE or (writing is _IDLE and self.reading is _HEAD):
            if writing is _IDLE:
                self._head_request = False  # that was the request before
            self._send_refusal(refusal)
            if receiver is None:
                self._sink.refused(refusal.status, refusal.reason)
            self._finish(linger=True)
        elif writing is _IDLE:  # the answer is out; its request goes on wrongly
            self._finish(linger=True)
        else:  # half a response is out: only a cut tells the peer that it is not whole
            self.reset(self.requests, 0)
