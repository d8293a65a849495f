"""Single frames: ours are wsproto's byte for byte; wsproto reads compressed ones within bounds."""

from __future__ import annotations

import zlib

import pytest
from wsproto.frame_protocol import FrameProtocol, ParseFailed

from pounce.worker.wire.deflate import Inflater
from pounce.worker.wire.frames import BINARY, TEXT, FrameReader, data_frame
from tests.support.frames import BINARY as OPCODE_BINARY
from tests.support.frames import CONT, FIN, PING, RSV1, frame
from tests.support.frames import TEXT as OPCODE_TEXT

SIZES = [0, 1, 125, 126, 127, 0xFFFF, 0x10000, 0x10001]


@pytest.mark.parametrize("size", SIZES)
def test_a_message_is_framed_as_wsproto_does(size: int) -> None:
    writer = FrameProtocol(client=False, extensions=[])
    assert data_frame(BINARY, b"x" * size) == writer.send_data(b"x" * size)
    assert data_frame(TEXT, b"x" * size) == writer.send_data("x" * size)


def packed(data: bytes) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compress.compress(data) + compress.flush(zlib.Z_SYNC_FLUSH))[:-4]


def read(data: bytes, *, step: int = 1 << 30, inflate: bool = True) -> list[tuple[int, object]]:
    """Opcodes and payloads of what wsproto finds in there."""
    reader = FrameReader(Inflater(bits=15, takeover=True, limit=100) if inflate else None)
    found: list[tuple[int, object]] = []
    for at in range(0, len(data), step):
        reader.receive_bytes(data[at : at + step])
        try:
            found += [(int(got.opcode), got.payload) for got in reader.received_frames()]
        except ParseFailed as error:
            found.append((int(error.code), reader.reason_of(error)))
            break
    return found


def test_a_ping_among_the_fragments_of_a_compressed_message_leaves_them_compressed() -> None:
    words = packed(b"Hello, Hello, Hello")
    stream = (
        frame(OPCODE_BINARY | RSV1, words[:5])
        + frame(FIN | PING, b"now")
        + frame(FIN | CONT, words[5:])
        + frame(FIN | OPCODE_TEXT, b"plain")
    )
    found = read(stream)
    assert (PING, b"now") in found
    data = [payload for opcode, payload in found if opcode == OPCODE_BINARY]
    assert b"".join(part for part in data if isinstance(part, bytes)) == b"Hello, Hello, Hello"
    assert found[-1] == (OPCODE_TEXT, "plain")


WRONG = {
    "RSV1 on a continuation": frame(OPCODE_TEXT | RSV1, b"") + frame(FIN | CONT | RSV1, b"x"),
    "RSV1 on a ping": frame(FIN | PING | RSV1),
}


@pytest.mark.parametrize("step", [1, 1 << 30])
@pytest.mark.parametrize("stream", WRONG.values(), ids=WRONG)
def test_only_the_first_frame_of_a_message_is_marked_as_compressed(
    stream: bytes, step: int
) -> None:
    assert read(stream, step=step)[-1] == (1002, "RSV1 on a frame that begins no message")


@pytest.mark.parametrize("step", [1, 1 << 30])
@pytest.mark.parametrize("between", [b"", frame(FIN | PING)], ids=["at once", "behind a ping"])
def test_a_message_in_a_message_is_refused_before_it_is_inflated(between: bytes, step: int) -> None:
    stream = frame(OPCODE_TEXT | RSV1, packed(b"abc")) + between
    stream += frame(FIN | OPCODE_TEXT | RSV1, b"\xff" * 9)
    code, reason = read(stream, step=step)[-1]
    assert code == 1002
    assert "expected CONTINUATION" in str(reason)


@pytest.mark.parametrize("step", [1, 1 << 30])
@pytest.mark.parametrize(
    ("payload", "verdict"),
    [
        (packed(bytes(101)), (1009, "message over 100 bytes")),
        (b"\xff\xff", (1007, "compressed data is corrupt")),
        (b"\x00\x00", (1007, "compressed data is corrupt")),
        (packed(b"\xff"), (1007, "text is not UTF-8")),
    ],
)
def test_the_reason_is_one_however_the_bytes_come(
    payload: bytes, verdict: tuple[int, str], step: int
) -> None:
    assert read(frame(FIN | OPCODE_TEXT | RSV1, payload), step=step)[-1] == verdict


def test_without_compression_its_mark_is_a_reserved_bit() -> None:
    stream = frame(FIN | OPCODE_TEXT | RSV1, packed(b"abc"))
    assert read(stream, inflate=False) == [(1002, "Reserved bit set unexpectedly")]
