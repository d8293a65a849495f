"""Our decoder of header blocks against the library's: same fields, same table, same refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from h2.exceptions import DenialOfServiceError, ProtocolError
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hpack.hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from pounce.asgi import Header
from pounce.worker.wire.h2_hpack import BlockDecoder, CompressionError

LIMIT: Final = 400  # bytes of a decoded list; a few fields
NAMES: Final = (b":path", b"accept", b"x-one", b"x-two", b"cookie", b"")
VALUES: Final = (b"/", b"", b"text/html", b"v" * 40, b"w" * 130, b"\xff\x00")


def an_encoder() -> Callable[[list[tuple[bytes, bytes, bool]], bool, int], bytes]:
    """Blocks of one connection, with what its table holds by then."""
    encoder = Encoder()

    def encode(fields: list[tuple[bytes, bytes, bool]], huffman: bool, size: int) -> bytes:
        encoder.header_table_size = size
        return encoder.encode(fields, huffman=huffman)

    return encode


fields: Final = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES), st.booleans()), max_size=8
)
good: Final = st.tuples(fields, st.booleans(), st.sampled_from([4096, 4096, 4096, 100, 0]))
# Single bytes that name, begin, or resize something, and what cannot be decoded.
pieces: Final = st.sampled_from(
    [
        *(b"\x82", b"\x80", b"\xbd", b"\xbe", b"\xbf", b"\xc5", b"\xfe", b"\xff", b"\xff\x00"),
        *(b"\x20", b"\x3f\xe1\x1f", b"\x3f\xff\xff\xff\xff\xff", b"\x40\x01a\x01b"),
        *(b"\x00\x01c\x01d", b"\x10\x01e\x01f", b"\x44\x03/ab", b"\x7f\x00\x01z"),
        *(b"\x41\x85", b"\x00\x7f\xff\xff", b"\x44\x82\x60\x7f", b"\x44\x81\xff"),
        *(b"\x44\x82\xff\xff", b"\x40\x00\x00"),
    ]
)
bad: Final = st.lists(pieces, min_size=1, max_size=6).map(b"".join)


def read(decoder: Decoder | BlockDecoder, data: bytes) -> list[Header] | str:
    """The fields, or what is wrong with them."""
    try:
        if isinstance(decoder, BlockDecoder):
            decoder.decode(data)
            return decoder.block.fields
        return [(bytes(each[0]), bytes(each[1])) for each in decoder.decode(data, raw=True)]
    except (OversizedHeaderListError, DenialOfServiceError):
        return "too long"
    except (HPACKError, IndexError, CompressionError):
        return "not to be decoded"


@settings(max_examples=500, deadline=None)
@given(blocks=st.lists(st.one_of(good, good, bad), max_size=12))
def test_blocks_decode_as_by_the_library(
    blocks: list[tuple[list[tuple[bytes, bytes, bool]], bool, int] | bytes],
) -> None:
    ours, library, encode = BlockDecoder(LIMIT), Decoder(LIMIT), an_encoder()
    for each in blocks:
        data = each if isinstance(each, bytes) else encode(*each)
        found = read(ours, data)
        assert found == read(library, data)
        if isinstance(found, str):
            return  # the connection is over
        assert ours.header_table.dynamic_entries == library.header_table.dynamic_entries
        assert ours.header_table_size == library.header_table_size


def test_a_block_that_changes_nothing_is_decoded_once_and_again_after_a_change() -> None:
    decoder = BlockDecoder(LIMIT)
    decoder.decode(b"\x82\x40\x01a\x01b")
    decoder.decode(b"\x82\xbe")
    known = decoder.block
    decoder.decode(b"\x82\xbe")
    assert decoder.block is known
    decoder.decode(b"\x40\x01c\x01d")
    decoder.decode(b"\x82\xbe")
    assert decoder.block.fields == [(b":method", b"GET"), (b"c", b"d")]


@pytest.mark.parametrize("data", [b"\x80", b"\xbe", b"\x82\x20", b"\x41\x85", b"\xff"])
def test_a_block_that_cannot_be_decoded_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="cannot be decoded"):
        BlockDecoder(LIMIT).decode(data)
