"""Response heads of HTTP/1.1 as bytes: status lines, checked and cached field lines, their meaning.

Knows nothing of connections: h1.py decides what follows from a response's fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from pounce.asgi import Header, Headers
from pounce.worker.wire import ResponseError
from pounce.worker.wire.h1_request import CONTENT_LENGTH, TOKEN_ONLY

VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

STATUS_LINES: Final[dict[int, bytes]] = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
    if status >= 200  # the others are informational and never a response's own
}

# Lines of fields seen before. The same content-type or cache-control comes with every response, and
# checking it again costs more than all else in a head. Emptied when full.
_LINES: dict[Header, bytes] = {}
_LINES_LIMIT: Final = 512
_CACHED_VALUE_LIMIT: Final = 128  # bytes; longer ones (cookies, policies) rarely come again

# Fields that say how the message is framed or what the connection does: never passed on unread.
OWN: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"server",
        b"transfer-encoding",
    )
)


@dataclass(slots=True)
class ResponseFields:
    """What is left of a response's fields once the common ones were looked up.

    Attributes:
        length: of the Content-Length field, or -1.
        close: the application asked for ``Connection: close``.
        options: other Connection options it named, such as ``upgrade``.
        date, server: it brought its own.
    """

    length: int = -1
    close: bool = False
    options: bytes = b""
    date: bool = False
    server: bool = False


def status_line(status: int) -> bytes:
    """``HTTP/1.1 200 OK`` and its line end.

    Raises:
        ResponseError: not a final status (200 to 999); 1xx are informational (RFC 9110 §15.2).
    """
    if type(status) is not int or not 200 <= status <= 999:
        raise ResponseError(f"status is {status!r}; a response's is a number from 200 to 999")
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


# The line of a field that was checked before and says nothing of framing, or None. The dict's own
# method: one call less for each field of each response.
known_line: Final = _LINES.get


# A Content-Length field seen before: its number, and its line.
_LENGTHS: dict[Header, tuple[int, bytes]] = {}
known_length: Final = _LENGTHS.get


def learn_length(field: Header) -> tuple[int, bytes] | None:
    """The same for one that is new, where it is well-formed and spelled as usual."""
    if len(field) != 2 or field[0] != b"content-length":  # field_line() says what is wrong
        return None
    name, value = field
    if type(value) is not bytes or not CONTENT_LENGTH.fullmatch(value):
        return None
    known = int(value), b"content-length: %b\r\n" % value
    if len(_LENGTHS) >= _LINES_LIMIT:
        _LENGTHS.clear()
    _LENGTHS[name, value] = known
    return known


def field_line(field: Header, fields: ResponseFields) -> bytes:
    """The line of a field as it goes on the wire, or b"" if its meaning went into `fields` instead.

    Raises:
        ResponseError: not two byte strings, no token as name, a control byte in the value, or
            framing that contradicts itself.
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
    lower = name.lower()
    if lower in OWN:
        return _own_line(lower, name, value, fields)
    line = b"%b: %b\r\n" % (name, value)
    if len(value) <= _CACHED_VALUE_LIMIT:
        if len(_LINES) >= _LINES_LIMIT:
            _LINES.clear()
        _LINES[name, value] = line
    return line


def _own_line(lower: bytes, name: bytes, value: bytes, fields: ResponseFields) -> bytes:
    match lower:
        case b"content-length":
            value = value.strip(b" \t")
            if fields.length >= 0:
                raise ResponseError("content-length is given twice")
            if not CONTENT_LENGTH.fullmatch(value):
                raise ResponseError(f"content-length {value!r} is not a decimal number")
            fields.length = int(value)
            return b""  # written, or not, once the status and method have been looked at
        case b"transfer-encoding":
            if value.strip(b" \t").lower() != b"chunked":
                raise ResponseError(f"transfer-encoding {value!r}: framing is the server's")
            return b""  # h1.py chunks where there is no length
        case b"connection":
            for option in value.split(b","):
                option = option.strip(b" \t")
                if option.lower() == b"close":
                    fields.close = True
                elif option and option.lower() != b"keep-alive":
                    fields.options += b", " + option
            return b""
        case b"keep-alive":
            return b""
        case b"date":
            fields.date = True
        case _:
            fields.server = True
    return b"%b: %b\r\n" % (name, value)


def trailer_lines(headers: Headers) -> bytes:
    """The trailer section's field lines.

    Raises:
        ResponseError: as field_line(), and for a field that is about framing (RFC 9110 §6.5.1).
    """
    lines = []
    for field in headers:
        line = field_line((field[0], field[1]), ResponseFields())
        if not line or field[0].lower() in OWN:
            raise ResponseError(f"header {field[0]!r} may not be a trailer")
        lines.append(line)
    return b"".join(lines)
