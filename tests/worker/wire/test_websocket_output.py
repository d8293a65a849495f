"""What we send: messages in one frame each, control frames, and what may not be sent."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import events
from wsproto.connection import Connection, ConnectionType

from pounce.worker.wire import ResponseError
from pounce.worker.wire.deflate import Compression
from pounce.worker.wire.extensions import Agreed
from pounce.worker.wire.websocket_output import WebSocketOutput

AGREED = Agreed(15, 15, True, True, b"")


def read(*frames: bytes) -> list[events.Event]:
    """What wsproto's client makes of them."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(b"".join(frames))
    return list(client.events())


@given(st.text() | st.binary() | st.sampled_from(["ä" * 70_000, b"\xff" * 126, b"\xff" * 65_536]))
def test_a_message_is_the_frame_that_wsproto_makes(data: str | bytes) -> None:
    output = WebSocketOutput(None)
    server = Connection(ConnectionType.SERVER)
    if isinstance(data, str):
        assert output.send_text(data) == server.send(events.TextMessage(data=data))
    else:
        assert output.send_binary(data) == server.send(events.BytesMessage(data=data))


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc"), memoryview(b"xabcx")[1:4]])
def test_any_buffer_is_sent_as_it_is_now(data: Any) -> None:
    assert WebSocketOutput(None).send_binary(data) == b"\x82\x03abc"


def test_a_buffer_of_larger_items_is_measured_in_bytes() -> None:
    data: Any = memoryview(b"abcdefgh").cast("I")
    assert WebSocketOutput(None).send_binary(data) == b"\x82\x08abcdefgh"


def test_messages_are_compressed_from_a_size_on() -> None:
    output = WebSocketOutput(Compression(AGREED, smallest=10))
    assert output.send_text("x" * 9) == b"\x81\x09" + b"x" * 9
    for first, frame in (
        (0xC1, output.send_text("x" * 10)),
        (0xC2, output.send_binary(b"y" * 99)),
    ):
        assert frame[0] == first
        assert frame[1] == len(frame) - 2 < 10
    inflate = zlib.decompressobj(-15)
    frame = output.send_text("x" * 300)
    assert len(inflate.decompress(frame[2:] + b"\x00\x00\xff\xff")) == 300


def test_a_long_compressed_message_tells_its_compressed_length() -> None:
    data = bytes(at * at % 251 for at in range(100_000))
    frame = WebSocketOutput(Compression(AGREED)).send_binary(data)
    assert frame[:2] == b"\xc2\x7e"
    assert int.from_bytes(frame[2:4], "big") == len(frame) - 4
    assert zlib.decompressobj(-15).decompress(frame[4:] + b"\x00\x00\xff\xff") == data


@pytest.mark.parametrize("smallest", [0, 1])
def test_an_empty_message_stays_one(smallest: int) -> None:
    frame = WebSocketOutput(Compression(AGREED, smallest=smallest)).send_text("")
    assert frame == (b"\x81\x00" if smallest else b"\xc1\x01\x00")


def test_pings_and_pongs() -> None:
    output = WebSocketOutput(None)
    assert read(output.ping(b"a"), output.ping(), output.pong(b"b" * 125)) == [
        events.Ping(payload=b"a"),
        events.Ping(payload=b""),
        events.Pong(payload=b"b" * 125),
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (1001, "going"), (1012, "grüß"), (3000, ""), (4999, "x" * 123)],
)
def test_a_close_has_its_code_and_reason(code: int, reason: str) -> None:
    assert read(WebSocketOutput(None).close(code, reason)) == [
        events.CloseConnection(code=code, reason=reason)
    ]


def test_a_close_without_a_code_is_empty() -> None:
    assert WebSocketOutput(None).close(1005) == b"\x88\x00"


@pytest.mark.parametrize(("reason", "left"), [("x" * 200, "x" * 123), ("€" * 50, "€" * 41)])
def test_a_reason_is_cut_between_two_letters(reason: str, left: str) -> None:
    assert read(WebSocketOutput(None).close(4000, reason)) == [
        events.CloseConnection(code=4000, reason=left)
    ]


@pytest.mark.parametrize(
    "code", [0, -1, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65536, "1000", None]
)
def test_a_code_that_may_not_be_sent_is_an_error_and_nothing_is_closed(code: Any) -> None:
    output = WebSocketOutput(None)
    with pytest.raises(ResponseError, match="may not be sent"):
        output.close(code)
    assert not output.closing


def test_what_is_no_text_is_an_error() -> None:
    output = WebSocketOutput(None)
    wrong: Any
    for wrong in (b"abc", 5, None):
        with pytest.raises(ResponseError, match=r"text is \w+, expected str"):
            output.send_text(wrong)
    for wrong in ("abc", 5, None, [1]):
        with pytest.raises(ResponseError, match=r"bytes is \w+, expected bytes"):
            output.send_binary(wrong)
    with pytest.raises(ResponseError, match="lone surrogate"):
        output.send_text("\ud800")
    with pytest.raises(ResponseError, match="lone surrogate"):
        output.close(1000, "\ud800")
    assert not output.closing


def test_nothing_is_sent_behind_a_close() -> None:
    output = WebSocketOutput(None)
    assert output.close(1000)
    assert output.closing
    assert output.ping() == output.pong(b"a") == b""
    with pytest.raises(ResponseError, match="was closed"):
        output.send_text("a")
    with pytest.raises(ResponseError, match="was closed"):
        output.send_binary(b"a")
    with pytest.raises(ResponseError, match="closed already"):
        output.close(1000)
