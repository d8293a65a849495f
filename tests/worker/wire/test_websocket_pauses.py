"""Pauses, idle times and what is held: all that a stream does to the frames while they come."""

from __future__ import annotations

import gc
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.wire.deflate import Compression
from pounce.worker.wire.extensions import Agreed
from pounce.worker.wire.websocket import FrameLimits, WebSocketFrames
from tests.support.frames import (
    BINARY,
    CONT,
    FIN,
    PING,
    RSV1,
    TEXT,
    Call,
    Recorder,
    binary,
    close,
    frame,
    text,
)

LIMITS = FrameLimits()
AGREED = Agreed(15, 15, True, True, b"")


def midway(frames: WebSocketFrames) -> bool:
    return frames.midway


class Halting(Recorder):
    """Pauses the frames at each of its calls."""

    frames: WebSocketFrames

    def text(self, text: str) -> None:
        super().text(text)
        self.frames.pause()

    def binary(self, data: bytes) -> None:
        super().binary(data)
        self.frames.pause()

    def ping(self, payload: bytes) -> None:
        super().ping(payload)
        self.frames.pause()


STREAM = [
    text("a"),
    text("x" * 300),
    binary(b"b"),
    frame(FIN | PING),
    frame(TEXT, b"c") + frame(FIN | PING, b"d"),
    frame(FIN | CONT, b"e"),
    text("f"),
    close(1000),
]
CALLS: list[Call] = [
    ("text", "a"),
    ("text", "x" * 300),
    ("binary", b"b"),
    ("ping", b""),
    ("ping", b"d"),
    ("text", "ce"),
    ("text", "f"),
    ("closed", 1000, ""),
]


@pytest.mark.parametrize("step", [1, 7, 1 << 30], ids="{} bytes at a time".format)
def test_a_pause_holds_everything_until_it_is_over(step: int) -> None:
    stream = b"".join(STREAM)
    recorder = Halting()
    frames = recorder.frames = WebSocketFrames(recorder, LIMITS)
    for at in range(0, len(stream), step):
        frames.receive(stream[at : at + step])
    for count in range(1, len(CALLS) + 1):
        assert recorder.calls == CALLS[:count]
        frames.resume()
    assert recorder.calls == CALLS


@pytest.mark.parametrize("step", [1, 7, 1 << 30], ids="{} bytes at a time".format)
def test_a_pause_may_end_in_the_call_that_began_it(step: int) -> None:
    class Hesitating(Halting):
        def text(self, text: str) -> None:
            super().text(text)
            self.frames.resume()

    stream = b"".join([text("a"), text("b"), text("x" * 200), text("c"), close()])
    recorder = Hesitating()
    frames = recorder.frames = WebSocketFrames(recorder, LIMITS)
    for at in range(0, len(stream), step):
        frames.receive(stream[at : at + step])
    assert [call[1] for call in recorder.calls] == ["a", "b", "x" * 200, "c", 1005]


def test_bombs_behind_each_other_are_inflated_one_at_a_time() -> None:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (compress.compress(bytes(1 << 20)) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]
    recorder = Halting()
    recorder.frames = WebSocketFrames(recorder, LIMITS, Compression(AGREED))
    recorder.frames.receive(frame(FIN | BINARY | RSV1, packed) * 20)
    assert len(recorder.calls) == 1
    recorder.frames.resume()
    assert len(recorder.calls) == 2


MIDWAY = {
    "half a head": b"\x81",
    "a head without its mask": b"\x81\x85ab",
    "half a short frame": text("hello")[:-1],
    "half a long frame": text("x" * 500)[:-1],
    "half a ping": frame(FIN | PING, b"abc")[:-1],
    "half a fragment": frame(TEXT, b"abc")[:-1],
}


@pytest.mark.parametrize("stream", MIDWAY.values(), ids=MIDWAY)
def test_who_is_midway_owes_the_rest(stream: bytes) -> None:
    frames = WebSocketFrames(Recorder(), LIMITS)
    assert not midway(frames)
    frames.receive(text("a"))
    assert not midway(frames)
    frames.receive(stream)
    assert midway(frames)
    frames.pause()
    assert not midway(frames)  # it is we who do not read
    frames.resume()
    assert midway(frames)


@pytest.mark.parametrize(
    "stream", [close(), text("a"), frame(FIN | PING), frame(TEXT, b"a"), b"\xff\xff"], ids=repr
)
def test_who_sent_whole_frames_or_is_out_owes_nothing(stream: bytes) -> None:
    frames = WebSocketFrames(Recorder(), LIMITS)
    frames.receive(stream)
    assert not midway(frames)


PIECES = st.lists(
    st.sampled_from(
        [
            (TEXT, b"Hello, "),
            (CONT, b"Hello, "),
            (FIN | CONT, b"world"),
            (FIN | TEXT, b"Hello, world"),
            (FIN | BINARY, b"Hello, world" * 20),
            (FIN | PING, b"p"),
        ]
    ),
    max_size=12,
)


@given(PIECES, st.booleans(), st.integers(1, 50))
def test_idling_at_any_time_changes_nothing(
    pieces: list[tuple[int, bytes]], deflate: bool, step: int
) -> None:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = b""
    for first, payload in pieces:
        if deflate and not first & 0x08:
            payload = compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH)
            if first & FIN:
                payload = payload[:-4]
            if first & 0x0F:
                first |= RSV1
        stream += frame(first, payload)
    busy, idle = Recorder(), Recorder()
    WebSocketFrames(busy, LIMITS, Compression(AGREED)).receive(stream)
    frames = WebSocketFrames(idle, LIMITS, Compression(AGREED))
    for at in range(0, len(stream), step):
        frames.idle()
        frames.receive(stream[at : at + step])
    assert idle.calls == busy.calls


def test_an_idle_websocket_keeps_little() -> None:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (compress.compress(b"hello") + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]
    recorder = Recorder()
    gc.disable()  # nothing may wait for it
    tracemalloc.start()
    try:
        crowd = []
        for _ in range(20):
            frames = WebSocketFrames(recorder, LIMITS, Compression(AGREED))
            frames.receive(frame(FIN | TEXT | RSV1, packed) + frame(FIN | PING))
            frames.send_text("hello")
            frames.idle()
            crowd.append(frames)
            recorder.calls.clear()
        size = tracemalloc.get_traced_memory()[0] / len(crowd)
    finally:
        tracemalloc.stop()
        gc.enable()
    assert size < 1024, f"{size} bytes are kept of an idle one"


def test_a_message_in_crumbs_costs_no_more_memory_than_it_has() -> None:
    size = 200_000
    stream = text("x" * size)
    frames = WebSocketFrames(Recorder(), LIMITS)
    tracemalloc.start()
    try:
        for at in range(len(stream) - 1):
            frames.receive(stream[at : at + 1])
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 3 * size, f"{held} bytes for a message of {size}"
