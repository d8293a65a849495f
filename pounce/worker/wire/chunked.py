"""Decodes the chunked transfer coding of a request body, strictly. Knows no head, no connection.

llhttp gives no callback for chunk extensions and h11 takes control bytes in them, so neither could
hold the limits; this decoder serves both readers.

Source: RFC 9112 §7.1; RFC 9110 §6.5.1 (trailers).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from pounce.worker.wire.h1_request import FIELD_LINE, HOPELESS, Refusal

# Chunk extensions of one message in all (hyper: 16 KiB; CVE-2024-22019 is the attack without one).
EXTENSION_LIMIT: Final = 16 * 1024  # bytes
TRAILER_LIMIT: Final = 16 * 1024  # bytes
TRAILER_FIELDS_LIMIT: Final = 100

# At most 15 hex digits: below 2^60, and no run of zeros makes it endless.
SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e]*)?\r\n")
SIZE_LINE_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{0,15}|[0-9A-Fa-f]{1,15}(;[\t\x20-\x7e]*)?\r?")
EXTENSION_BEGUN: Final = re.compile(rb"[\t\x20-\x7e]*\r?")
LONGEST_SIZE: Final = 16  # bytes, with the semicolon: what stands behind is an extension

# Fields that would change what has been decided already (RFC 9110 §6.5.1).
FORBIDDEN_TRAILERS: Final = frozenset(
    (
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"host",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


class _Part(Enum):
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILER = "trailer"


class ChunkedDecoder:
    """One body in the chunked coding: bytes in, body bytes out.

    Attributes:
        done: the last chunk and the trailers have been read.
    """

    __slots__ = ("_extensions", "_fields", "_left", "_part", "_rest", "_seen", "_trailers", "done")

    def __init__(self) -> None:
        self.done = False
        self._part = _Part.SIZE
        self._left = 0  # bytes of the present chunk still to come
        self._rest = b""  # a line that has begun
        self._seen = 0  # bytes of it that need not be looked at again
        self._extensions = 0
        self._trailers = 0
        self._fields = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The pieces of body in `data`, and what stands behind the end of the body once done.

        Raises:
            Refusal: with 400; the coding is broken or over a limit, so nothing after it counts.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._part is _Part.DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._part = _Part.DATA_END
            elif self._part is _Part.DATA_END:
                end = data[at : at + 2]
                if end == b"\r\n":
                    self._part = _Part.SIZE
                elif end != b"\r":
                    raise Refusal(400, "chunk data does not end in CR LF")
                else:
                    break
                at += 2
            elif self._part is _Part.SIZE:
                line = self._line(data, at)
                if line is None:
                    break
                at += len(line)
                self._begin_chunk(line)
            else:
                line = self._line(data, at)
                if line is None:
                    break
                at += len(line)
                if line == b"\r\n":
                    self.done = True
                    return pieces, data[at:]
                self._check_trailer(line)
        self._rest = data[at:]
        return pieces, b""

    def _line(self, data: bytes, at: int) -> bytes | None:
        """The line that begins at `at`; None while it has no end, and could still be right."""
        new = at + max(0, self._seen - 1)  # the last byte seen may be a CR
        self._seen = 0
        end = data.find(b"\r\n", new)
        if end >= 0:
            return data[at : end + 2]
        size = len(data) - at
        if self._part is _Part.TRAILER:
            if HOPELESS.search(data, new):
                raise Refusal(400, "control byte, or CR and LF not together")
            if self._trailers + size > TRAILER_LIMIT + 1:  # the CR of the end is no trailer
                raise Refusal(400, f"trailers over {TRAILER_LIMIT} bytes")
        else:
            if new > at + LONGEST_SIZE:
                right = EXTENSION_BEGUN.fullmatch(data, new)
            else:
                right = SIZE_LINE_BEGUN.fullmatch(data, at)
            if not right:
                raise Refusal(400, "chunk size is not a hexadecimal number of up to 15 digits")
            if self._extensions + size > EXTENSION_LIMIT + LONGEST_SIZE:
                raise Refusal(400, f"chunk extensions over {EXTENSION_LIMIT} bytes")
        self._seen = size
        return None

    def _begin_chunk(self, line: bytes) -> None:
        size = SIZE_LINE.fullmatch(line)
        if size is None:
            raise Refusal(400, "chunk size is not a hexadecimal number of up to 15 digits")
        if size[2]:
            self._extensions += len(size[2])
            if self._extensions > EXTENSION_LIMIT:
                raise Refusal(400, f"chunk extensions over {EXTENSION_LIMIT} bytes")
        self._left = int(size[1], 16)
        self._part = _Part.DATA if self._left else _Part.TRAILER

    def _check_trailer(self, line: bytes) -> None:
        """Trailers are checked and dropped: ASGI has no place for them but the headers, a trap."""
        self._trailers += len(line)
        self._fields += 1
        if self._trailers > TRAILER_LIMIT or self._fields > TRAILER_FIELDS_LIMIT:
            raise Refusal(
                400, f"trailers over {TRAILER_LIMIT} bytes or {TRAILER_FIELDS_LIMIT} fields"
            )
        if not FIELD_LINE.fullmatch(line):
            raise Refusal(400, "trailer line is not name:value, or holds a control byte")
        if line.partition(b":")[0].lower() in FORBIDDEN_TRAILERS:
            raise Refusal(400, "a trailer may not change framing or routing")
