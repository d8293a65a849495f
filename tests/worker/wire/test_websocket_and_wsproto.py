"""The short path held against wsproto: the same frames make the same calls, however they come."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import events
from wsproto.connection import Connection, ConnectionType
from wsproto.extensions import PerMessageDeflate

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
    TEXT,
    Call,
    Recorder,
    frame,
)

NO_LIMITS = FrameLimits(0, 0, 0)
BITS = 12
AGREED = Agreed(BITS, BITS, True, True, b"")


class Enabled(PerMessageDeflate):
    """wsproto's own compression, as after a handshake."""

    def __init__(self) -> None:
        super().__init__(client_max_window_bits=BITS, server_max_window_bits=BITS)
        self._enabled = True


def by_wsproto(stream: bytes, *, deflate: bool) -> list[Call]:
    """What wsproto alone makes of a stream."""
    server = Connection(ConnectionType.SERVER, [Enabled()] if deflate else [])
    server.receive_data(stream)
    calls: list[Call] = []
    parts: list[str] = []
    pieces: list[bytes] = []
    for event in server.events():
        match event:
            case events.TextMessage():
                parts.append(event.data)
                if event.message_finished:
                    calls.append(("text", "".join(parts)))
                    parts.clear()
            case events.BytesMessage():
                pieces.append(bytes(event.data))
                if event.message_finished:
                    calls.append(("binary", b"".join(pieces)))
                    pieces.clear()
            case events.Ping():
                calls.append(("ping", bytes(event.payload)))
            case events.Pong():
                calls.append(("pong", bytes(event.payload)))
            case events.CloseConnection():
                calls.append(("end", int(event.code)))
    return calls


def by_us(stream: bytes, cuts: list[int], *, deflate: bool, idle: bool = False) -> list[Call]:
    recorder = Recorder()
    frames = WebSocketFrames(recorder, NO_LIMITS, Compression(AGREED) if deflate else None)
    at = 0
    for to in (*sorted(cuts), len(stream)):
        frames.receive(stream[at:to])
        if idle:
            frames.idle()
        at = to
    return [
        ("end", call[1]) if call[0] in ("closed", "failed") else call for call in recorder.calls
    ]


SIZES = st.sampled_from([0, 1, 2, 30, 124, 125, 126, 127, 300, 65_535, 65_536])
PAYLOADS = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=20).map(str.encode),
    st.builds(lambda size: b"x" * size, SIZES),
    st.builds(lambda size: ("ä" * size).encode(), SIZES),
    st.sampled_from([b"\xe2\x82", b"\xac", b"\xff", b"\xed\xa0\x80", b"\x03\xe8", b"\x03\xe8ok"]),
)
FIRSTS = st.one_of(
    st.sampled_from([FIN | TEXT, FIN | BINARY]),
    st.sampled_from([FIN | PING, FIN | PONG, FIN | CLOSE, TEXT, BINARY, CONT, FIN | CONT]),
    st.integers(0, 255),
)
MASKS = st.binary(min_size=4, max_size=4)
ANY_FRAME = st.one_of(
    st.builds(lambda first, mask, data: frame(first, data, mask=mask), FIRSTS, MASKS, PAYLOADS),
    st.builds(
        lambda first, mask, data, form: frame(first, data, mask=mask, form=form),
        FIRSTS,
        st.none() | MASKS,
        st.binary(max_size=200),
        st.sampled_from([0, 2, 8]),
    ),
    st.builds(
        lambda first, mask, data: frame(first, data, mask=mask)[:-1], FIRSTS, MASKS, PAYLOADS
    ),
)


def cuts_for(stream: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(stream)), max_size=8)


@given(st.data(), st.lists(ANY_FRAME, max_size=6).map(b"".join))
def test_any_frames_are_read_as_wsproto_does(data: st.DataObject, stream: bytes) -> None:
    expected = by_wsproto(stream, deflate=False)
    assert by_us(stream, [], deflate=False) == expected
    cuts = data.draw(cuts_for(stream))
    assert by_us(stream, cuts, deflate=False) == expected
    assert by_us(stream, cuts, deflate=False, idle=True) == expected


@given(st.lists(ANY_FRAME, max_size=3).map(b"".join))
def test_one_byte_at_a_time_is_read_as_wsproto_does(stream: bytes) -> None:
    stream = stream[:500]
    expected = by_wsproto(stream, deflate=False)
    assert by_us(stream, list(range(1, len(stream))), deflate=False) == expected


# Whole frames, or two fragments with nothing between them: where a ping comes among compressed
# fragments wsproto is wrong, and we are not (test_frames.py).
KINDS = st.sampled_from(["whole", "fragments", "plain", "ping", "wrong mark", "corrupt", "no text"])


@given(st.data(), st.lists(st.tuples(KINDS, st.booleans(), PAYLOADS), max_size=8))
def test_compressed_frames_are_read_as_wsproto_does(
    data: st.DataObject, messages: list[tuple[str, bool, bytes]]
) -> None:
    compress = zlib.compressobj(9, zlib.DEFLATED, -BITS)
    stream = b""
    for kind, is_text, payload in messages:
        first = TEXT if is_text else BINARY
        if is_text:
            payload = payload.decode(errors="replace").encode()
        if kind == "plain":
            stream += frame(FIN | first, payload)
        elif kind == "ping":
            stream += frame(FIN | PING, payload[:125])
        elif kind == "wrong mark":
            stream += frame(FIN | PING | RSV1, b"")
        elif kind == "corrupt":
            stream += frame(FIN | first | RSV1, b"\xff" + payload)
        else:
            if kind == "no text":
                payload += b"\xff"
            packed = compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH)
            packed = packed[:-4] or b"\x00"
            if kind == "fragments":
                stream += frame(first | RSV1, packed[:3]) + frame(FIN | CONT, packed[3:])
            else:
                stream += frame(FIN | first | RSV1, packed)
    expected = by_wsproto(stream, deflate=True)
    assert by_us(stream, [], deflate=True) == expected
    cuts = data.draw(cuts_for(stream))
    assert by_us(stream, cuts, deflate=True) == expected
    assert by_us(stream, cuts, deflate=True, idle=True) == expected


@pytest.mark.parametrize("deflate", [False, True])
@given(messages=st.lists(st.text() | st.binary() | st.sampled_from(["ä" * 40_000, b"a" * 70_000])))
def test_what_wsproto_s_client_sends_arrives(messages: list[str | bytes], deflate: bool) -> None:
    client = Connection(ConnectionType.CLIENT, [Enabled()] if deflate else [])
    stream = b""
    expected: list[Call] = []
    for each in messages:
        if isinstance(each, str):
            stream += client.send(events.TextMessage(data=each))
            expected.append(("text", each))
        else:
            stream += client.send(events.BytesMessage(data=each))
            expected.append(("binary", each))
    assert by_us(stream, [], deflate=deflate) == expected


@given(messages=st.lists(st.text(min_size=1) | st.binary(min_size=1)))
def test_what_we_compress_wsproto_s_client_reads(messages: list[str | bytes]) -> None:
    client = Connection(ConnectionType.CLIENT, [Enabled()])
    frames = WebSocketFrames(Recorder(), NO_LIMITS, Compression(AGREED))
    for each in messages:
        sent = frames.send_text(each) if isinstance(each, str) else frames.send_binary(each)
        client.receive_data(sent)
        assert [
            event.data
            for event in client.events()
            if isinstance(event, events.TextMessage | events.BytesMessage)
        ] == [each]
        frames.idle()
