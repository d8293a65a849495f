"""The writing half of an HTTP/1.1 connection: heads, framing, chunks and trailers as bytes.

What is written follows from the request's version and method and the response's own fields; when
the next request may be read is decided in h1.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from pounce.asgi import Headers
from pounce.worker.wire import ResponseError, Sink
from pounce.worker.wire.h1_request import Refusal
from pounce.worker.wire.h1_response import (
    STATUS_LINES,
    ResponseFields,
    field_line,
    known_length,
    known_line,
    learn_length,
    status_line,
    trailer_lines,
)
from pounce.worker.wire.h1_rules import Http1Rules
from pounce.worker.wire.h1_states import Reading, Writing

# Up to here head and body are joined into one buffer; copying more costs more than a second buffer.
JOIN_LIMIT: Final = 32 * 1024
# Parts of a response that follow each other in one turn of the loop leave in one write, which costs
# more than all else of a small chunk. Not more than this is held for it.
HOLD_LIMIT: Final = 64 * 1024


# Enum members as globals: an attribute of a class costs twice as much, on every request.
_IDLE, _DUE, _FIXED, _CHUNKED = Writing.IDLE, Writing.DUE, Writing.FIXED, Writing.CHUNKED
_TRAILERS, _UNTIL_CLOSE, _BODILESS = Writing.TRAILERS, Writing.UNTIL_CLOSE, Writing.BODILESS
_COMPLETE, _TUNNEL = Reading.COMPLETE, Writing.TUNNEL


class Http1Output(ABC):
    """The writing half; Http1Wire in h1.py is the whole."""

    __slots__ = (
        "_close",
        "_expects",
        "_head_request",
        "_held",
        "_held_size",
        "_http11",
        "_lone",
        "_owed",
        "_prompt",
        "_rules",
        "_sink",
        "_write",
        "congested",
        "draining",
        "reading",
        "writing",
    )

    def __init__(self, sink: Sink, write: Callable[[bytes], None], rules: Http1Rules) -> None:
        self._sink = sink
        self._write = write
        self._rules = rules
        self._held: list[bytes] | None = None  # written by flush(), at the turn's end at the latest
        self._held_size = 0
        self._lone = True  # one piece was all that answered what came through the tunnel
        self._prompt: bool | None = None  # the next piece goes out at once; False: one did so
        self._owed = 0  # response body bytes to come, of a known length
        self._close = False  # this response is the connection's last
        self._expects = False  # the peer waits for 100 Continue
        self._head_request = False
        self._http11 = True
        self.congested = False
        self.draining = False
        self.reading = Reading.HEAD
        self.writing = _IDLE

    @abstractmethod
    def _response_done(self) -> None:
        """The response is written whole: h1.py reads on, or closes."""

    @abstractmethod
    def _body_left_unread(self) -> bool:
        """h1.py: is more request body to come than is worth reading."""

    def continue_body(self, stream: int) -> None:
        """The application wants the body: says 100 Continue if the peer waits for it.

        Source: RFC 9110 §10.1.1.
        """
        if self._expects:
            self._expects = False
            if self.writing is _DUE:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def inform(self, stream: int, status: int, headers: Headers) -> None:
        """An informational response such as 103, before the head; dropped for HTTP/1.0.

        Raises:
            ResponseError: after send_head(), or a field that may not be written.

        Source: RFC 9110 §15.2; RFC 8297.
        """
        if self.writing is not _DUE:
            raise ResponseError(f"{status} after the response's head")
        lines = b"".join([field_line((name, value), ResponseFields()) for name, value in headers])
        if self._http11:
            self._write(b"HTTP/1.1 %d Early Hints\r\n%b\r\n" % (status, lines))

    def send_head(
        self, stream: int, status: int, headers: Headers, body: bytes, *, end: bool
    ) -> None:
        """The head and the first body bytes of the response, in one write.

        Without a content-length, one is added when `body` is all of it; otherwise the body is
        chunked, or ended by closing for HTTP/1.0. HEAD, 204 and 304 keep their fields and lose
        their body; an empty one for HEAD says nothing of the length that GET would see.
        Connection, Keep-Alive and Transfer-Encoding are the server's own, except that
        ``Connection: close`` is heeded.

        Args:
            stream: RequestHead.stream of the request being answered.
            status: 200 to 999.
            headers: pairs of bytes.
            body: 0 or more bytes.
            end: no send_data() follows.

        Raises:
            ResponseError: a second head, or a status, field or length that cannot be written as it
                is. Nothing has been written then.

        Source: RFC 9112 §6.3, §7.1, §9.6; RFC 9110 §6.4.1, §8.6.
        """
        if self.writing is not _DUE:
            raise ResponseError("a second response head")
        lines = [STATUS_LINES.get(status) or status_line(status)]
        length = -1
        length_line = b""
        fields: ResponseFields | None = None
        for field in headers:
            if type(field) is not tuple:
                name, value = field
                field = (name, value)
            line = known_line(field)
            if line is not None:
                lines.append(line)
            elif (
                length < 0
                and fields is None
                and (known := known_length(field) or learn_length(field)) is not None
            ):
                length, length_line = known
            else:
                if fields is None:
                    fields = ResponseFields(length=length)
                lines.append(field_line(field, fields))
        rules = self._rules
        if fields is None:
            lines.append(rules.common)
            close = self._close
        else:
            length = fields.length
            length_line = b"content-length: %d\r\n" % length
            if not fields.date:
                lines.append(rules.date_line)
            if not fields.server:
                lines.append(rules.server_line)
            if fields.options:
                lines.append(b"connection: " + fields.options[2:] + b"\r\n")
            close = self._close or fields.close

        size = len(body)
        if self._head_request or status in (204, 304):
            writing = _BODILESS
            if length < 0 and body and end and status != 304:  # it sends what GET would get
                length = size
                length_line = b"content-length: %d\r\n" % size
            body = b""
            if length >= 0 and status != 204:
                lines.append(length_line)
        else:
            if length < 0 and end:
                length = size
                length_line = b"content-length: %d\r\n" % size
            if length >= 0:
                if size > length or (end and size < length):
                    raise ResponseError(f"body is {size} bytes, content-length {length}")
                writing = _FIXED
                self._owed = length - size
                lines.append(length_line)
            elif self._http11:
                writing = _CHUNKED
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                writing = _UNTIL_CLOSE
                close = True
        # A peer that was told neither to send its body nor that it need not may do either.
        if (
            close
            or self.draining
            or (self.reading is not _COMPLETE and (self._expects or self._body_left_unread()))
        ):
            self._close = True
            lines.append(b"connection: close\r\n")
        elif not self._http11:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")

        if end:
            if size <= JOIN_LIMIT:
                lines.append(body)
                self._write(b"".join(lines))
            else:
                self._write(b"".join(lines))
                self._write(body)
            self.writing = _IDLE
            self._response_done()
        else:
            self.writing = writing
            if body and writing is _CHUNKED:
                lines.append(b"%x\r\n" % size)
                self._hold(b"".join(lines), body, b"\r\n")
            else:
                self._hold(b"".join(lines), body)

    def send_data(self, stream: int, data: bytes, *, end: bool) -> None:
        """More response body.

        Args:
            data: 0 or more body bytes, unframed. Not copied; do not change it afterwards.
            end: True on the last call of a response.

        Raises:
            ResponseError: before send_head(), after `end`, past the content-length, or an end
                before it: then the connection is closed, since the peer waits for the rest.
        """
        writing = self.writing
        if writing is _CHUNKED:
            if data:
                tail = b"\r\n0\r\n\r\n" if end else b"\r\n"
                self._hold(b"%x\r\n" % len(data), data, tail)
            elif end:
                self._hold(b"0\r\n\r\n")
        elif writing is _FIXED:
            size = len(data)
            if size > self._owed:
                owed = self._owed
                self._break_off()
                raise ResponseError(f"body is {size - owed} bytes longer than content-length")
            self._owed -= size
            if data:
                self._hold(data)
            if end and self._owed:
                owed = self._owed
                self._break_off()
                raise ResponseError(f"body is {owed} bytes shorter than content-length")
        elif writing is _TUNNEL:
            if data:
                self._answer(data)
        elif writing is _UNTIL_CLOSE:
            if data:
                self._hold(data)
        elif writing is not _BODILESS:
            raise ResponseError("body without a response head")
        if end:
            self.flush()
            self.writing = _IDLE
            self._response_done()

    def send_trailers(self, stream: int, headers: Headers, *, end: bool) -> None:
        """Trailer fields behind the body; dropped where it is not chunked.

        Args:
            end: True on the last call of a response.

        Raises:
            ResponseError: a field that may not be a trailer. Nothing of this call counts then, and
                the response still has to be ended.

        Source: RFC 9112 §7.1.2.
        """
        lines = trailer_lines(headers)
        writing = self.writing
        if writing is _CHUNKED or writing is _TRAILERS:
            if writing is _CHUNKED:
                lines = b"0\r\n" + lines
            self.writing = _TRAILERS
            if not end:
                self._hold(lines)
                return
            self._hold(lines + b"\r\n")
            self.flush()
            self.writing = _IDLE
            self._response_done()
        else:
            self.send_data(stream, b"", end=end)

    def sending_file(self, stream: int, size: int) -> bool:
        """Claims `size` body bytes of the response to be written past this object, by sendfile.

        False where they must pass through send_data() instead: a chunked body, or none.

        Raises:
            ResponseError: past the content-length.
        """
        if self.writing is not _FIXED and self.writing is not _UNTIL_CLOSE:
            return False
        self.flush()
        if self.writing is _UNTIL_CLOSE:
            return True
        if size > self._owed:
            owed = self._owed
            self._break_off()
            raise ResponseError(f"file is {size - owed} bytes longer than content-length")
        self._owed -= size
        return True

    def flush(self) -> None:
        """Writes what is held."""
        if self._held is not None:
            held, self._held = self._held, None
            self._held_size = 0
            self._write(b"".join(held))

    def _answer(self, data: bytes) -> None:
        """Into the tunnel: at once if one piece was all that answered what came the last time.

        Holding it for others that follow in this turn of the loop would cost another turn, a tenth
        of what an echo costs.
        """
        if self._held is not None:
            self._lone = False
        elif self._prompt:
            self._prompt = False
            self._write(data)
            return
        else:
            self._lone = self._prompt is None
        self._hold(data)

    def _hold(self, *pieces: bytes) -> None:
        """Written with what follows in this turn of the loop; at once when it is much."""
        first = self._held is None
        if self._held is None:
            self._held = []
        self._held += pieces
        for piece in pieces:
            self._held_size += len(piece)
        if self._held_size > HOLD_LIMIT:
            held, self._held = self._held, None
            self._held_size = 0
            for piece in held:
                self._write(piece)
        elif first:
            self._sink.flush_soon()

    def _break_off(self) -> None:
        """The response cannot be completed: cut it, so that the peer does not take it for whole."""
        self.flush()
        self.writing = _IDLE
        self._sink.finish(linger=False)

    def _send_refusal(self, refusal: Refusal) -> None:
        """An error answer of ours, complete, after which the connection is closed."""
        text = refusal.reason.encode() + b"\n"
        head = (
            b"%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n%b\r\n"
        ) % (status_line(refusal.status), len(text), self._rules.common)
        self._write(head if self._head_request else head + text)
        self.writing = _IDLE
