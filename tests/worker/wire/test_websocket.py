"""What a client's frames become: whole messages, control frames, failures; in any pieces."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.wire.deflate import Compression
from pounce.worker.wire.extensions import Agreed
from pounce.worker.wire.websocket import FrameLimits, WebSocketFrames
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONT,
    FIN,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Call,
    Recorder,
    binary,
    close,
    frame,
    text,
)

LIMITS = FrameLimits(max_message=100_000, max_frame=80_000, max_fragments=10)
AGREED = Agreed(15, 15, True, True, b"")
NOT_UTF8 = ("failed", 1007, "text is not UTF-8")


def packed(data: bytes) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compress.compress(data) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]


def read(
    stream: bytes,
    cuts: Sequence[int] = (),
    *,
    limits: FrameLimits = LIMITS,
    deflate: bool = False,
) -> list[Call]:
    """The calls that a stream makes, cut at these places."""
    recorder = Recorder()
    compression = Compression(AGREED, max_message=limits.max_message) if deflate else None
    frames = WebSocketFrames(recorder, limits, compression)
    places = [0, *sorted(cuts), len(stream)]
    for at, to in pairwise(places):
        frames.receive(stream[at:to])
    return recorder.calls


def every(step: int, stream: bytes) -> list[int]:
    return list(range(step, len(stream), step))


GOOD: dict[str, tuple[bytes, list[Call]]] = {
    "text": (text("grüß"), [("text", "grüß")]),
    "binary": (binary(b"\x00\xff"), [("binary", b"\x00\xff")]),
    "nothing in it": (text("") + binary(b""), [("text", ""), ("binary", b"")]),
    "several": (
        text("a") + binary(b"b") + text("c"),
        [("text", "a"), ("binary", b"b"), ("text", "c")],
    ),
    "125 bytes": (text("x" * 125), [("text", "x" * 125)]),
    "126 bytes": (text("x" * 126), [("text", "x" * 126)]),
    "65535 bytes": (binary(b"x" * 65535), [("binary", b"x" * 65535)]),
    "65536 bytes": (text("x" * 65536), [("text", "x" * 65536)]),
    "more behind a long one": (
        text("€" * 5000) + text("a"),
        [("text", "€" * 5000), ("text", "a")],
    ),
    "a mask of nothing": (frame(FIN | TEXT, b"abc", mask=bytes(4)), [("text", "abc")]),
    "ping": (frame(FIN | PING, b"\xff"), [("ping", b"\xff")]),
    "ping of 125 bytes": (frame(FIN | PING, b"x" * 125), [("ping", b"x" * 125)]),
    "empty ping and pong": (frame(FIN | PING) + frame(FIN | PONG), [("ping", b""), ("pong", b"")]),
    "fragments": (
        frame(TEXT, b"a") + frame(CONT, b"b") + frame(FIN | CONT, b"c") + text("d"),
        [("text", "abc"), ("text", "d")],
    ),
    "empty fragments": (
        frame(BINARY) + frame(CONT) + frame(CONT, b"a") + frame(FIN | CONT),
        [("binary", b"a")],
    ),
    "a letter over two fragments": (
        frame(TEXT, b"\xe2\x82") + frame(FIN | CONT, b"\xac"),
        [("text", "€")],
    ),
    "control frames among fragments": (
        frame(TEXT, b"a") + frame(FIN | PING, b"p") + frame(FIN | PONG) + frame(FIN | CONT, b"b"),
        [("ping", b"p"), ("pong", b""), ("text", "ab")],
    ),
    "close among fragments": (frame(TEXT, b"a") + close(1001), [("closed", 1001, "")]),
    "close without a code": (close(), [("closed", 1005, "")]),
    "close with a reason": (close(1000, "grüß".encode()), [("closed", 1000, "grüß")]),
    "close with the longest reason": (close(4000, b"x" * 123), [("closed", 4000, "x" * 123)]),
    "bytes behind close": (
        text("a") + close(1000) + text("b") + b"\xff" * 99,
        [
            ("text", "a"),
            ("closed", 1000, ""),
        ],
    ),
    "a message in as many frames as may be": (
        frame(TEXT, b"a") + frame(CONT, b"a") * 8 + frame(FIN | CONT, b"a"),
        [("text", "a" * 10)],
    ),
    "as many frames again": (
        (frame(TEXT) + frame(CONT) * 8 + frame(FIN | CONT)) * 2,
        [("text", ""), ("text", "")],
    ),
    "the longest frame": (binary(bytes(80_000)), [("binary", bytes(80_000))]),
    "the longest message": (
        frame(BINARY, bytes(50_000)) + frame(FIN | CONT, bytes(50_000)),
        [("binary", bytes(100_000))],
    ),
}

for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4999):
    GOOD[f"close {code}"] = (close(code), [("closed", code, "")])

COMPRESSED: dict[str, tuple[bytes, list[Call]]] = {
    "compressed text": (
        frame(FIN | TEXT | RSV1, packed(b"Hello " * 90)),
        [("text", "Hello " * 90)],
    ),
    "compressed binary": (
        frame(FIN | BINARY | RSV1, packed(b"\xff" * 90)) + binary(b"\xff"),
        [("binary", b"\xff" * 90), ("binary", b"\xff")],
    ),
    "compressed and long": (
        frame(FIN | BINARY | RSV1, packed(bytes(range(256)) * 300)),
        [("binary", bytes(range(256)) * 300)],
    ),
    "compressed and longer than a small head tells": (
        frame(FIN | BINARY | RSV1, packed(bytes(at * at % 251 for at in range(7000)))),
        [("binary", bytes(at * at % 251 for at in range(7000)))],
    ),
    "compressed fragments and a ping": (
        frame(TEXT | RSV1, packed(b"abcabcabc")[:3])
        + frame(FIN | PING, b"p")
        + frame(FIN | CONT, packed(b"abcabcabc")[3:])
        + text("plain"),
        [("ping", b"p"), ("text", "abcabcabc"), ("text", "plain")],
    ),
    "compressed, and nothing in it": (frame(FIN | TEXT | RSV1, b"\x00"), [("text", "")]),
    "the most a bomb may hold": (
        frame(FIN | BINARY | RSV1, packed(bytes(100_000))),
        [("binary", bytes(100_000))],
    ),
}

BAD: dict[str, tuple[bytes, Call]] = {
    "unmasked": (frame(FIN | TEXT, b"a", mask=None), ("failed", 1002, "unmasked")),
    "unmasked and empty": (frame(FIN | TEXT, b"", mask=None), ("failed", 1002, "unmasked")),
    "unmasked and long": (frame(FIN | TEXT, b"a" * 300, mask=None), ("failed", 1002, "unmasked")),
    "unmasked close": (frame(FIN | CLOSE, b"", mask=None), ("failed", 1002, "unmasked")),
    "RSV1": (frame(FIN | TEXT | RSV1, b"a"), ("failed", 1002, "Reserved bit")),
    "RSV2": (frame(FIN | TEXT | RSV2, b"a"), ("failed", 1002, "Reserved bit")),
    "RSV3": (frame(FIN | BINARY | RSV3, b"a"), ("failed", 1002, "Reserved bit")),
    "RSV2 on a ping": (frame(FIN | PING | RSV2), ("failed", 1002, "Reserved bit")),
    "ping of 126 bytes": (frame(FIN | PING, b"x" * 126), ("failed", 1002, "Control frame")),
    "ping in two frames": (frame(PING, b"x"), ("failed", 1002, "fragment control")),
    "close in two frames": (frame(CLOSE), ("failed", 1002, "fragment control")),
    "a stray continuation": (frame(FIN | CONT, b"a"), ("failed", 1002, "unexpected CONTINUATION")),
    "a stray empty continuation": (frame(CONT), ("failed", 1002, "unexpected CONTINUATION")),
    "text inside a message": (
        frame(TEXT, b"a") + text("b"),
        ("failed", 1002, "expected CONTINUATION"),
    ),
    "binary inside a message": (
        frame(TEXT, b"a") + frame(BINARY, b"b"),
        ("failed", 1002, "expected CONTINUATION"),
    ),
    "length in 2 bytes for 125": (
        frame(FIN | TEXT, b"x" * 125, form=2),
        ("failed", 1002, "2 bytes"),
    ),
    "length in 8 bytes for 1": (frame(FIN | BINARY, b"x", form=8), ("failed", 1002, "8 bytes")),
    "length in 8 bytes for 65535": (
        frame(FIN | TEXT, b"x" * 65535, form=8),
        ("failed", 1002, "8 bytes"),
    ),
    "length of 2**63": (frame(FIN | TEXT, form=8, size=1 << 63), ("failed", 1002, "8-byte")),
    "length of 2**62": (
        frame(FIN | TEXT, form=8, size=1 << 62),
        ("failed", 1009, "frame over 80000"),
    ),
    "length of 1 GiB": (frame(BINARY, form=8, size=1 << 30), ("failed", 1009, "frame over 80000")),
    "frame over the limit": (
        frame(FIN | TEXT, form=8, size=80_001),
        ("failed", 1009, "frame over 80000 bytes"),
    ),
    "message over the limit, by its heads": (
        frame(BINARY, bytes(50_000)) + frame(FIN | CONT, form=2, size=50_001),
        ("failed", 1009, "message over 100000 bytes"),
    ),
    "too many fragments": (
        frame(TEXT) + frame(CONT) * 10,
        ("failed", 1008, "message in more than 10 frames"),
    ),
    "too many fragments, with an end": (
        frame(TEXT) + frame(CONT) * 9 + frame(FIN | CONT),
        ("failed", 1008, "message in more than 10 frames"),
    ),
    "close of 1 byte": (frame(FIN | CLOSE, b"\x03"), ("failed", 1002, "1 byte")),
    "close with a reason not in UTF-8": (close(1000, b"\xff"), NOT_UTF8),
    "text not in UTF-8": (text(b"\xce\xba\xff"), NOT_UTF8),
    "a surrogate": (text(b"\xed\xa0\x80"), NOT_UTF8),
    "an overlong letter": (text(b"\xc0\xaf"), NOT_UTF8),
    "text that ends in half a letter": (text(b"a\xe2\x82"), NOT_UTF8),
    "long text that ends in half a letter": (text(b"a" * 200 + b"\xe2\x82"), NOT_UTF8),
    "fragments that end in half a letter": (
        frame(TEXT, b"\xe2") + frame(FIN | CONT, b"\x82"),
        NOT_UTF8,
    ),
}
for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    BAD[f"opcode {opcode}"] = (frame(FIN | opcode, b"a"), ("failed", 1002, "Invalid opcode"))
for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
    BAD[f"close {code}"] = (close(code), ("failed", 1002, "CLOSE"))

BADLY_COMPRESSED: dict[str, tuple[bytes, Call]] = {
    "corrupt": (
        frame(FIN | TEXT | RSV1, b"\xff\xff"),
        ("failed", 1007, "compressed data is corrupt"),
    ),
    "bomb": (
        frame(FIN | TEXT | RSV1, packed(bytes(100_001))),
        ("failed", 1009, "message over 100000 bytes"),
    ),
    "bomb in fragments": (
        frame(TEXT | RSV1, packed(bytes(1 << 20))[:500])
        + frame(FIN | CONT, packed(bytes(1 << 20))[500:]),
        ("failed", 1009, "message over 100000 bytes"),
    ),
    "compressed text not in UTF-8": (frame(FIN | TEXT | RSV1, packed(b"\xff")), NOT_UTF8),
    "a compressed ping": (frame(FIN | PING | RSV1), ("failed", 1002, "RSV1")),
    "a compressed continuation": (
        frame(TEXT | RSV1, b"") + frame(FIN | CONT | RSV1, b"\x00"),
        ("failed", 1002, "RSV1"),
    ),
    "compressed and RSV2": (frame(FIN | TEXT | RSV1 | RSV2, b"\x00"), ("failed", 1002, "Reserved")),
}

STEPS = pytest.mark.parametrize("step", [1, 2, 7, 1 << 30], ids="{} bytes at a time".format)


@STEPS
@pytest.mark.parametrize(("stream", "calls"), GOOD.values(), ids=GOOD)
def test_frames_become_messages(stream: bytes, calls: list[Call], step: int) -> None:
    assert read(stream, every(step, stream)) == calls
    assert read(stream, every(step, stream), deflate=True) == calls


@STEPS
@pytest.mark.parametrize(("stream", "calls"), COMPRESSED.values(), ids=COMPRESSED)
def test_compressed_frames_become_messages(stream: bytes, calls: list[Call], step: int) -> None:
    assert read(stream, every(step, stream), deflate=True) == calls


def check_failure(calls: list[Call], expected: Call) -> None:
    name, code, reason = calls[-1]
    assert (name, code) == expected[:2]
    assert expected[2] in reason


@STEPS
@pytest.mark.parametrize(("stream", "call"), BAD.values(), ids=BAD)
def test_wrong_frames_fail_and_nothing_follows(stream: bytes, call: Call, step: int) -> None:
    before = text("before")
    stream = before + stream + text("behind")
    calls = read(stream, every(step, stream))
    assert calls[0] == ("text", "before")
    assert len(calls) == 2
    check_failure(calls, call)


@STEPS
@pytest.mark.parametrize(("stream", "call"), BADLY_COMPRESSED.values(), ids=BADLY_COMPRESSED)
def test_wrong_compressed_frames_fail(stream: bytes, call: Call, step: int) -> None:
    stream += text("behind")
    calls = read(stream, every(step, stream), deflate=True)
    assert len(calls) == 1
    check_failure(calls, call)


EARLY: dict[str, bytes] = {
    "in one frame": frame(FIN | TEXT, b"\xce\xba\xff", size=70_000),
    "in a fragment": frame(TEXT, b"\xce\xba\xff", size=100),
    "in a second fragment": frame(TEXT, b"\xce") + frame(CONT, b"\xba\xff", size=100),
    "behind half a letter": frame(TEXT, b"\xe2") + frame(CONT, b"a", size=100),
}


@STEPS
@pytest.mark.parametrize("stream", EARLY.values(), ids=EARLY)
def test_text_is_checked_before_it_is_whole(stream: bytes, step: int) -> None:
    assert read(stream, every(step, stream)) == [NOT_UTF8]


TOO_LONG = {
    "of a frame": frame(FIN | TEXT, form=8, size=80_001),
    "of a message": frame(BINARY, bytes(60_000)) + frame(CONT, form=2, size=60_000),
}


@STEPS
@pytest.mark.parametrize("stream", TOO_LONG.values(), ids=TOO_LONG)
def test_a_length_over_the_limit_is_refused_on_its_head(stream: bytes, step: int) -> None:
    assert [call[:2] for call in read(stream, every(step, stream))] == [("failed", 1009)]


@pytest.mark.parametrize("size", [10, 11])
@pytest.mark.parametrize("limits", [FrameLimits(10, 0, 0), FrameLimits(0, 10, 0)])
def test_a_small_limit_holds_for_short_frames(limits: FrameLimits, size: int) -> None:
    calls = read(binary(bytes(size)), limits=limits)
    assert [call[0] for call in calls] == ["binary" if size == 10 else "failed"]
    assert [call[0] for call in read(frame(FIN | PING, bytes(11)), limits=limits)] == ["ping"]


def test_without_limits_a_message_may_have_any_size() -> None:
    stream = frame(BINARY, bytes(200_000)) + frame(CONT) * 50 + frame(FIN | CONT, b"a")
    assert read(stream, limits=FrameLimits(0, 0, 0)) == [("binary", bytes(200_000) + b"a")]
    packed_stream = frame(FIN | BINARY | RSV1, packed(bytes(1 << 20)))
    assert read(packed_stream, limits=FrameLimits(0, 0, 0), deflate=True) == [
        ("binary", bytes(1 << 20))
    ]


FRAMES = st.one_of(
    st.sampled_from([stream for stream, _ in (*GOOD.values(), *COMPRESSED.values())]),
    st.sampled_from([stream for stream, _ in (*BAD.values(), *BADLY_COMPRESSED.values())]),
    st.builds(
        frame,
        st.integers(0, 255),
        st.binary(max_size=20),
        form=st.sampled_from([0, 2, 8]),
        mask=st.sampled_from([None, b"abcd"]),
    ),
    st.binary(max_size=12),
)


@given(st.lists(FRAMES, max_size=5).map(b"".join), st.data(), st.booleans())
def test_however_a_stream_is_cut_it_makes_the_same_calls(
    stream: bytes, data: st.DataObject, deflate: bool
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    assert read(stream, cuts, deflate=deflate) == read(stream, deflate=deflate)


@given(st.lists(st.binary(max_size=300), max_size=6), st.booleans())
def test_any_bytes_make_calls_or_one_failure_and_nothing_else(
    pieces: list[bytes], deflate: bool
) -> None:
    recorder = Recorder()
    frames = WebSocketFrames(recorder, LIMITS, Compression(AGREED) if deflate else None)
    for piece in pieces:
        frames.receive(piece)
        frames.idle()
    ends = [at for at, call in enumerate(recorder.calls) if call[0] in ("closed", "failed")]
    assert ends in ([], [len(recorder.calls) - 1])
