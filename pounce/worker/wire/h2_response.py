"""The header blocks of HTTP/2 responses: fields checked, cached, and freed of what is HTTP/1's.

Source: RFC 9113 §8.2 and §8.3.2.
"""

from __future__ import annotations

from pounce.asgi import Header, Headers
from pounce.worker.wire import ResponseError
from pounce.worker.wire.h1_request import CONTENT_LENGTH, TOKEN_ONLY
from pounce.worker.wire.h1_response import VALUE, known_length, learn_length
from pounce.worker.wire.h1_rules import Http1Rules
from pounce.worker.wire.h2_hpack import (
    encode_field,
    known_field,
    length_field,
    status_field,
)
from pounce.worker.wire.h2_request import HOP_BY_HOP


class CommonFields:
    """Date and Server as they go into every response, as HTTP/1 sends them.

    Encoded again when the lines of HTTP/1 change, which is once a second.
    """

    __slots__ = ("_both", "_date", "_rules", "_server", "_whole")

    def __init__(self, rules: Http1Rules) -> None:
        self._rules = rules
        self._date = self._server = self._both = self._whole = b""
        self._encode()

    def _encode(self) -> None:
        rules = self._rules
        self._whole = rules.common
        self._date = _encoded_line(rules.date_line)
        self._server = _encoded_line(rules.server_line)
        self._both = self._date + self._server

    def get(self, *, date: bool, server: bool) -> bytes:
        """Args: date, server: the response brings its own."""
        if self._rules.common is not self._whole:
            self._encode()
        if not (date or server):
            return self._both
        return (b"" if date else self._date) + (b"" if server else self._server)


def _encoded_line(line: bytes) -> bytes:
    name, _, value = line.strip().partition(b": ")
    return encode_field((name, value), keep=False) if name else b""


class ResponseBlock:
    """A response head in the making: what its fields said beside being fields.

    Attributes:
        parts: of the block so far.
        length: of the Content-Length field, or -1.
        date, server: the response brings its own.
    """

    __slots__ = ("date", "length", "parts", "server")

    def __init__(self, status: int, headers: Headers) -> None:
        """
        Raises:
            ResponseError: a status, or a field, that cannot be written as it is.
        """
        if type(status) is not int or not 200 <= status <= 999:
            raise ResponseError(f"status is {status!r}; a response's is a number from 200 to 999")
        self.parts = [status_field(status)]
        self.length = -1
        self.date = self.server = False
        for field in headers:
            if type(field) is not tuple:
                name, value = field
                field = (name, value)
            known = known_field(field)
            if known is not None:
                self.parts.append(known)
            else:
                self._add(field)

    def _add(self, field: Header) -> None:
        length = known_length(field) or learn_length(field)
        if length is not None and self.length < 0:
            self.length = length[0]
            return
        name, value = checked(field)
        if name in HOP_BY_HOP:
            return
        if name == b"content-length":
            value = value.strip(b" \t")
            if self.length >= 0:
                raise ResponseError("content-length is given twice")
            if not CONTENT_LENGTH.fullmatch(value):
                raise ResponseError(f"content-length {value!r} is not a decimal number")
            self.length = int(value)
            return
        if name == b"date" or name == b"server":
            self.date = self.date or name == b"date"
            self.server = self.server or name == b"server"
            # Remembered, it would be taken for a field that says nothing more.
            self.parts.append(encode_field((name, value), keep=False))
            return
        self.parts.append(encode_field((name, value)))

    def finish(self, common: CommonFields) -> bytes:
        """The block, with Date and Server; `length` is a field of it unless it is -1."""
        if self.length >= 0:
            self.parts.append(length_field(self.length))
        self.parts.append(common.get(date=self.date, server=self.server))
        return b"".join(self.parts)


def checked(field: Header) -> Header:
    """The field with its name in lower case and no space around its value.

    Raises:
        ResponseError: not two byte strings, no token as name, or a control byte in the value.
    """
    try:
        name, value = field
    except (TypeError, ValueError):
        raise ResponseError(f"header {field!r} is not a pair of name and value") from None
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise ResponseError(f"header ({name!r}, {value!r}) is not a pair of bytes")
    if not TOKEN_ONLY.fullmatch(name):
        raise ResponseError(f"header name {name!r} is not a token (RFC 9110 section 5.1)")
    if not VALUE.fullmatch(value):
        raise ResponseError(f"value {value!r} of header {name!r} holds a control byte")
    return name.lower(), value.strip(b" \t")


def trailer_block(headers: Headers) -> bytes:
    """The block of a trailer section, or of an informational response behind its status.

    Raises:
        ResponseError: as checked(), and for a field about framing (RFC 9110 §6.5.1).
    """
    parts = []
    for field in headers:
        name, value = checked((field[0], field[1]))
        if name in HOP_BY_HOP or name in (b"content-length", b"date", b"server"):
            raise ResponseError(f"header {field[0]!r} may not be a trailer")
        parts.append(encode_field((name, value)))
    return b"".join(parts)
