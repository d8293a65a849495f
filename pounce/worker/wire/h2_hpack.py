"""Header blocks of HTTP/2: those that come, decoded once, and those that go, made of cached fields.

What comes is decoded by the library hpack. A block that puts nothing into the dynamic table means
the same again as long as the table does not change, and clients that keep a connection send such
ones nearly always. What goes uses the static table alone, as nginx does: then a field is the same
bytes on every connection, and is made once.

Source: RFC 7541 §2.3, §4.2 and §6.
"""

from __future__ import annotations

from typing import Any, Final

from h2.exceptions import DenialOfServiceError, ProtocolError
from hpack.exceptions import HPACKDecodingError, HPACKError, OversizedHeaderListError
from hpack.hpack import Decoder
from hpack.table import HeaderTable

from pounce.asgi import Header
from pounce.worker.wire.h2_frames import COMPRESSION_ERROR
from pounce.worker.wire.h2_request import FIELD_COST, Request

# Of one connection: blocks kept, and the longest that is.
BLOCKS_LIMIT: Final = 32
BLOCK_LIMIT: Final = 512  # bytes

# Fields as they were encoded before. Emptied when full.
_FIELDS: dict[Header, bytes] = {}
_FIELDS_LIMIT: Final = 512
_CACHED_VALUE_LIMIT: Final = 128  # bytes; longer ones (cookies, policies) rarely come again
known_field: Final = _FIELDS.get

STATIC_NAMES: Final[dict[bytes, int]] = {}
for _index, (_name, _) in enumerate(HeaderTable.STATIC_TABLE, 1):
    STATIC_NAMES.setdefault(_name, _index)
# From 1, as fields of one byte name them.
_STATIC: Final[tuple[Header, ...]] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_LAST_STATIC: Final = 0x80 | len(HeaderTable.STATIC_TABLE)
_STATUS: Final = {
    int(value): bytes([0x80 | index])
    for index, (name, value) in enumerate(HeaderTable.STATIC_TABLE, 1)
    if name == b":status"
}
# What no intermediary may put into a table of its own (RFC 7541 §7.1.3).
SECRET: Final = frozenset((b"set-cookie", b"authorization", b"cookie"))
EMPTY_TABLE: Final = b"\x20"  # a size update to nothing (§6.3)


class CompressionError(ProtocolError):
    """A header block that cannot be decoded; the table is out of step from here on."""

    error_code = COMPRESSION_ERROR  # type: ignore[assignment]  # h2 wants its enum, and sends both


class Block:
    """A decoded header block.

    Attributes:
        fields: names and values as they came.
        request: what they were found to ask for when they were checked; None before that.
    """

    __slots__ = ("fields", "request")

    def __init__(self, fields: list[Header]) -> None:
        self.fields = fields
        self.request: Request | None = None


class _Table(HeaderTable):
    """Tells whether something changed."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)


class BlockDecoder(Decoder):
    """What h2 is given as decoder. It is told of no fields: they are ours to judge.

    Attributes:
        block: the last one.
    """

    def __init__(self, max_list_size: int) -> None:
        super().__init__(max_list_size)
        self._table = self.header_table = _Table()
        self._known: dict[bytes, Block] = {}
        self.block = Block([])

    def decode(self, data: bytes, raw: bool = False) -> Any:
        data = bytes(data)
        known = self._known.get(data)
        if known is not None:
            self.block = known
            return ()
        changes, size = self._table.changes, self._table.maxsize
        try:
            fields = self._fields(data)
        except OversizedHeaderListError as error:
            raise DenialOfServiceError("header list is too long to be decoded") from error
        except (HPACKError, IndexError, TypeError, ValueError) as error:
            wrong = type(error).__name__  # what it says may name an object in memory
            raise CompressionError(f"header block cannot be decoded: {wrong}") from error
        self.block = block = Block(fields)
        if changes != self._table.changes or size != self._table.maxsize:
            self._known.clear()
        elif len(data) <= BLOCK_LIMIT:
            if len(self._known) >= BLOCKS_LIMIT:
                self._known.clear()
            self._known[data] = block
        return ()

    def _fields(self, data: bytes) -> list[Header]:
        """The library's decode(), which takes most of its time over fields of a single byte."""
        fields: list[Header] = []
        entries = self._table.dynamic_entries
        at, end, size = 0, len(data), 0
        while at < end:
            byte = data[at]
            if 0x80 < byte < 0xFF:  # an index under 127
                at += 1
                if byte <= _LAST_STATIC:
                    field = _STATIC[byte & 0x7F]
                else:
                    field = entries[byte - _LAST_STATIC - 1]
            elif byte & 0xE0 == 0x20:
                if fields:
                    raise HPACKDecodingError("table size update behind a field")
                at += self._update_encoding_context(data[at:])
                continue
            else:
                rest = data[at:]
                if byte & 0x80:
                    (name, value), consumed = self._decode_indexed(rest)
                else:
                    (name, value), consumed = self._decode_literal(rest, byte & 0x40 != 0)
                at += consumed
                field = (bytes(name), bytes(value))
            fields.append(field)
            size += len(field[0]) + len(field[1]) + FIELD_COST
            if size > self.max_header_list_size:
                raise OversizedHeaderListError("header list over the limit")
        self._assert_valid_table_size()
        return fields


class TableSizeHeeder:
    """What h2 is given as encoder: it only hears of the table that the peer allows.

    Attributes:
        due: to be put in front of the next block: a peer that allows less than was agreed must be
            told that we heed it (RFC 7541 §4.2). We need none at all.
    """

    def __init__(self) -> None:
        self.due = b""
        self._told = False

    @property
    def header_table_size(self) -> int:
        return 0

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        if not self._told:
            self._told, self.due = True, EMPTY_TABLE


def status_field(status: int) -> bytes:
    return _STATUS.get(status) or b"\x08\x03%d" % status


def length_field(length: int) -> bytes:
    """Content-Length, which is number 28 of the static table."""
    digits = b"%d" % length
    return b"\x0f\x0d%c%b" % (len(digits), digits)


def encode_field(field: Header, *, keep: bool = True) -> bytes:
    """A field whose name is in lower case; short ones are remembered, for known_field()."""
    name, value = field
    secret = name in SECRET
    index = STATIC_NAMES.get(name, 0)
    encoded = b"%b%b%b%b" % (
        _number(index, 15, 0x10 if secret else 0),
        b"" if index else _number(len(name), 127) + name,
        _number(len(value), 127),
        value,
    )
    if keep and not secret and len(value) <= _CACHED_VALUE_LIMIT:
        if len(_FIELDS) >= _FIELDS_LIMIT:
            _FIELDS.clear()
        _FIELDS[field] = encoded
    return encoded


def _number(number: int, most: int, bits: int = 0) -> bytes:
    """An integer with a prefix of which `most` is all ones (RFC 7541 §5.1)."""
    if number < most:
        return bytes((bits | number,))
    parts = bytearray((bits | most,))
    number -= most
    while number >= 128:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)
