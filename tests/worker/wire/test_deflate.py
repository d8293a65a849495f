"""Compression of messages: round trips, bounds, and memory given back between any two messages."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pounce.worker.wire.close_codes import BAD_DATA, TOO_BIG
from pounce.worker.wire.deflate import (
    FINAL_BLOCKS_LIMIT,
    Compression,
    Deflater,
    InflateError,
    Inflater,
)
from pounce.worker.wire.extensions import Agreed

KIB = 1024
MIB = 1024 * KIB
TAIL = b"\x00\x00\xff\xff"


class Client:
    """The other side, on zlib alone: never gives anything back while it may refer to it."""

    def __init__(self, agreed: Agreed) -> None:
        self.agreed = agreed
        self.renew()

    def renew(self) -> None:
        bits = max(9, self.agreed.client_bits)
        self.compress = zlib.compressobj(9, zlib.DEFLATED, -bits)
        self.inflate = zlib.decompressobj(-self.agreed.server_bits)

    def sends(self, data: bytes) -> bytes:
        out = self.compress.compress(data) + self.compress.flush(zlib.Z_SYNC_FLUSH)
        if not self.agreed.client_takeover:
            self.compress = zlib.compressobj(9, zlib.DEFLATED, -max(9, self.agreed.client_bits))
        return out[:-4] or b"\x00"

    def reads(self, data: bytes) -> bytes:
        out = self.inflate.decompress(data + TAIL)
        if not self.agreed.server_takeover:
            self.inflate = zlib.decompressobj(-self.agreed.server_bits)
        return out


AGREED = st.builds(
    Agreed,
    st.integers(9, 15),
    st.integers(8, 15),
    st.booleans(),
    st.booleans(),
    st.just(b""),
)
# Few different ones, and long ones too, so that messages refer to those before them, and past them.
MESSAGES = st.builds(
    lambda part, times: part * times,
    st.sampled_from([b"", b"a", b"{'name': 1}", bytes(range(256)), b"\x00\x00\xff\xff"])
    | st.binary(max_size=30),
    st.sampled_from([1, 2, 50, 700]),
)


@given(AGREED, st.lists(st.tuples(MESSAGES, st.booleans()), max_size=8))
def test_messages_go_there_and_back_with_idle_times_between_them(
    agreed: Agreed, messages: list[tuple[bytes, bool]]
) -> None:
    ours, client = Compression(agreed), Client(agreed)
    for data, idle in messages:
        assert ours.inflater.message(client.sends(data)) == data
        assert client.reads(ours.deflater.message(data)) == data
        if idle:
            ours.idle()


@given(AGREED, st.lists(MESSAGES, max_size=4), st.integers(1, 9), st.booleans())
def test_a_message_may_come_in_pieces(
    agreed: Agreed, messages: list[bytes], step: int, idle: bool
) -> None:
    ours, client = (
        Inflater(bits=agreed.client_bits, takeover=agreed.client_takeover),
        Client(agreed),
    )
    for data in messages:
        sent = client.sends(data)
        got = [ours.feed(sent[at : at + step]) for at in range(0, len(sent), step)]
        assert b"".join(got) + ours.end() == data
        if idle:
            ours.idle()


def test_a_window_is_kept_over_many_small_messages_with_idle_times() -> None:
    agreed = Agreed(15, 15, True, True, b"")
    ours, client = Compression(agreed), Client(agreed)
    words = [b"%d: some words that are %d times alike" % (number, number) for number in range(3000)]
    for number, data in enumerate(words):
        assert ours.inflater.message(client.sends(data)) == data
        if number % 97 == 0:
            ours.idle()
    ours.idle()
    far_back = b"".join(words[-600:])[:20_000]  # within the window of 32 KiB
    assert ours.inflater.message(client.sends(far_back)) == far_back


def test_takeover_makes_messages_small_from_the_third_on() -> None:
    """The first leaves nothing to refer to: it may be all that is ever said."""
    data = bytes(range(256))
    with_it = Deflater(bits=15, takeover=True)
    without = Deflater(bits=15, takeover=False)
    sizes = [len(with_it.message(data)) for _ in range(4)]
    assert sizes[0] == sizes[1] > 200 > 20 > max(sizes[2:])
    assert without.message(data) == without.message(data) == without.message(data)


def test_after_idling_a_compressor_refers_to_nothing_before() -> None:
    data = bytes(range(256))
    deflater = Deflater(bits=15, takeover=True)
    first = deflater.message(data)
    deflater.idle()
    assert deflater.message(data) == first


def test_an_empty_message_is_an_empty_block() -> None:
    deflater = Deflater(bits=15, takeover=True)
    assert [deflater.message(b""), deflater.message(b"")] == [b"\x00", b"\x00"]
    assert Inflater(bits=15, takeover=True).message(b"\x00") == b""


@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_level_is_the_one_set(level: int) -> None:
    data = b"abcdefgh" * 500
    size = len(Deflater(bits=15, takeover=True, level=level).message(data))
    assert size > len(data) if level == 0 else size < 100


def bomb(size: int) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(
        (compress.compress(bytes(size)), compress.flush(zlib.Z_SYNC_FLUSH)),
    )[:-4]


def flood(packed: bytes, step: int, limit: int) -> tuple[InflateError, int]:
    """What a bomb ends in, and the most memory that was held meanwhile."""
    inflater = Inflater(bits=15, takeover=True, limit=limit)
    tracemalloc.start()
    try:
        with pytest.raises(InflateError) as caught:  # noqa: PT012  # any of the pieces may do it
            if step > len(packed):
                inflater.message(packed)
            kept = [inflater.feed(packed[at : at + step]) for at in range(0, len(packed), step)]
            kept.append(inflater.end())
        return caught.value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("limit", [1 * MIB, 16 * MIB], ids="limit {}".format)
@pytest.mark.parametrize("step", [100, 4 * KIB, 40_000, 1 << 30], ids="step {}".format)
def test_a_bomb_is_found_out_before_it_fills_its_limit(step: int, limit: int) -> None:
    packed = bomb(64 * MIB)
    assert len(packed) < 66 * KIB
    error, peak = flood(packed, step, limit)
    assert error.code == TOO_BIG
    assert error.reason == f"message over {limit} bytes"
    assert peak < 1 * MIB, f"{peak / MIB:.1f} MiB"


def test_a_bomb_that_begins_like_an_honest_message_is_found_out_too() -> None:
    honest = random.Random(0).randbytes(5000)
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = compress.compress(honest + bytes(60 * MIB)) + compress.flush(zlib.Z_SYNC_FLUSH)
    error, peak = flood(packed[:-4], 1 << 30, 16 * MIB)
    assert error.code == TOO_BIG
    assert peak < 1 * MIB, f"{peak / MIB:.1f} MiB"


RUNS = st.lists(
    st.tuples(st.sampled_from(["zeros", "noise"]), st.integers(0, 600 * KIB)), max_size=4
)


@settings(max_examples=40)
@given(RUNS, st.sampled_from([0, 100, 5000, 100_000]), st.booleans(), st.integers(0, 2**32))
def test_what_was_doubted_and_fits_is_inflated_as_all_else(
    runs: list[tuple[str, int]], step: int, takeover: bool, seed: int
) -> None:
    noise = random.Random(seed)
    data = b"".join(
        bytes(size) if kind == "zeros" else noise.randbytes(size // 16) for kind, size in runs
    )
    agreed = Agreed(15, 15, True, takeover, b"")
    inflater, client = Inflater(bits=15, takeover=takeover, limit=4 * MIB), Client(agreed)
    messages = [(client.sends(each), each) for each in (data, data[::-1])]
    for sent, want in [*messages, (final_block(data) * 2, data * 2)]:
        if step:
            got = b"".join(inflater.feed(sent[at : at + step]) for at in range(0, len(sent), step))
            got += inflater.end()
        else:
            got = inflater.message(sent)
        assert got == want


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
@pytest.mark.parametrize("whole", [True, False])
def test_the_limit_is_what_a_message_may_have(size: int, fits: bool, whole: bool) -> None:
    inflater = Inflater(bits=15, takeover=True, limit=100)
    client = Client(Agreed(15, 15, True, True, b""))
    for data in (b"x" * 100, bytes(at % 256 for at in range(size))):
        sent = client.sends(data)
        if len(data) > 100:
            with pytest.raises(InflateError, match="message over 100 bytes"):
                inflater.message(sent) if whole else inflater.feed(sent)
        elif whole:
            assert inflater.message(sent) == data
        else:
            assert inflater.feed(sent) + inflater.end() == data
    assert fits is (size <= 100)


@pytest.mark.parametrize("size", [64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 300 * KIB])
def test_a_message_of_many_steps_is_whole(size: int) -> None:
    agreed = Agreed(15, 15, True, True, b"")
    ours, client = Inflater(bits=15, takeover=True), Client(agreed)
    for data in (bytes(size), bytes(at * at % 251 for at in range(size))):
        assert ours.message(client.sends(data)) == data


@pytest.mark.parametrize("data", [b"\xff", b"\x06", b"\x00\x01\x02\x03\x04\x05"], ids=repr)
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_no_deflate_data_is_bad(data: bytes, whole: bool) -> None:
    inflater = Inflater(bits=15, takeover=True)
    with pytest.raises(InflateError, match="compressed data is corrupt") as caught:
        inflater.message(data) if whole else inflater.feed(data)
    assert caught.value.code == BAD_DATA


@given(st.lists(st.binary(max_size=60), max_size=5), st.booleans(), st.booleans())
def test_any_bytes_are_inflated_or_refused(
    messages: list[bytes], takeover: bool, idle: bool
) -> None:
    inflater = Inflater(bits=9, takeover=takeover, limit=1000)
    for data in messages:
        try:
            assert len(inflater.message(data)) <= 1000
        except InflateError:
            break
        if idle:
            inflater.idle()


def final_block(data: bytes) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compress.compress(data) + compress.flush(zlib.Z_FINISH)


@pytest.mark.parametrize("behind", [b"\x00", b""], ids=["as in the RFC", "without its empty block"])
@pytest.mark.parametrize("step", [1, 1 << 30])
def test_a_block_may_call_itself_the_last(behind: bytes, step: int) -> None:
    inflater = Inflater(bits=15, takeover=True)
    for words in (b"Hello", b"Hello", b"", b"again"):
        sent = final_block(words) + behind
        if step == 1:
            got = b"".join(inflater.feed(sent[at : at + 1]) for at in range(len(sent)))
            assert got + inflater.end() == words
        else:
            assert inflater.message(sent) == words


def test_a_block_behind_the_last_one_refers_to_what_was_before_it() -> None:
    words = bytes(range(256))
    compress = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=words)
    more = (compress.compress(words) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(more) < 20
    inflater = Inflater(bits=15, takeover=True)
    assert inflater.message(final_block(words) + more) == words * 2


def test_endless_last_blocks_are_refused() -> None:
    inflater = Inflater(bits=15, takeover=True)
    some = final_block(b"") * FINAL_BLOCKS_LIMIT
    assert inflater.message(some) == b""
    assert inflater.message(some) == b""
    with pytest.raises(InflateError, match="too many final blocks"):
        inflater.message(some + final_block(b""))


@pytest.mark.parametrize("rest", [True, False])
def test_small_talk_costs_little_before_and_after_idling(rest: bool) -> None:
    agreed = Agreed(15, 15, True, True, b"")
    client = Client(agreed)
    first, data = client.sends(b"hello"), b"hello"
    crowd = [Compression(agreed) for _ in range(20)]
    tracemalloc.start()
    try:
        for each in crowd:
            assert each.inflater.message(first) == data
            each.deflater.message(data)
            if rest:
                each.idle()
        size = tracemalloc.get_traced_memory()[0] / len(crowd)
    finally:
        tracemalloc.stop()
    assert size < 512, f"{size} bytes are kept of an idle one"
