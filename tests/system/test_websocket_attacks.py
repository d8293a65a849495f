"""What a hostile peer does to a WebSocket, and what it costs: a Close that says why, and no memory.

The cases are those of published attacks; the memory is the highest that the worker ever had.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest
from xprocess import XProcess

from tests.support.frames import (
    BINARY,
    CLOSE,
    CONT,
    FIN,
    MASK,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    close,
    frame,
    text,
)
from tests.support.memory import Memory
from tests.support.notes import Notes
from tests.support.raw import CLOSED
from tests.support.server import Server, shared
from tests.support.serverlog import PATIENCE
from tests.support.websocket import DEFLATE, WebSocket, opened

KIB: Final = 1024
MIB: Final = 1024 * KIB
CORES: Final = [("uvloop", "httptools"), ("asyncio", "h11")]
MARGIN: Final = 2 * MIB  # beside what the limits let a peer have


@pytest.fixture(scope="module", params=CORES, ids="-".join)
def running(request: pytest.FixtureRequest, xprocess: XProcess) -> Iterator[Server]:
    loop, http = request.param
    limits = ["--websocket-max-message", f"{4 * MIB}", "--websocket-max-frame", f"{4 * MIB}"]
    with shared(xprocess, "sockets", "--loop", loop, "--http", http, *limits) as one:
        yield one


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    with opened(running, "/echo") as other:
        other.send(text("served"))
        assert other.frame() == (FIN | TEXT, b"served")
    running.log.check()


@cache
def deflated(size: int) -> bytes:
    """So many zeros as one compressed message."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    pieces = [deflate.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join([*pieces, deflate.flush(zlib.Z_SYNC_FLUSH)])[:-4]


def fragments(data: bytes, size: int, *, first: int = BINARY) -> list[bytes]:
    """The frames of a message, all but its last."""
    starts = range(0, len(data), size)
    return [frame(CONT if at else first, data[at : at + size]) for at in starts]


def send_until_it_stalls(raw: WebSocket, piece: bytes) -> tuple[int, bytes]:
    """How often `piece` was taken, by the server and the kernels, and what was left of the last."""
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * KIB)
    raw.socket.settimeout(1.0)
    sent, rest = 0, piece
    try:
        while sent * len(piece) < 256 * MIB:
            while rest:
                rest = rest[raw.socket.send(rest) :]
            sent, rest = sent + 1, piece
    except TimeoutError:
        return sent, rest
    finally:
        raw.socket.settimeout(PATIENCE)
    raise AssertionError("all of it was taken")


WRONG: Final = {
    "not masked": frame(FIN | TEXT, b"x", mask=None),
    "not masked and empty": frame(FIN | TEXT, mask=None),
    "RSV1 without extension": frame(FIN | RSV1 | TEXT, b"x"),
    "RSV2": frame(FIN | RSV2 | TEXT, b"x"),
    "RSV3": frame(FIN | RSV3 | BINARY, b"x"),
    "opcode 3": frame(FIN | 3, b"x"),
    "opcode 11": frame(FIN | 11),
    "long ping": frame(FIN | PING, bytes(126)),
    "fragmented ping": frame(PING, b"x"),
    "fragmented close": frame(CLOSE),
    "continuation of nothing": frame(FIN | CONT, b"x"),
    "message inside a message": frame(TEXT, b"x") + frame(FIN | TEXT, b"y"),
    "2 bytes of length for 125": frame(FIN | BINARY, bytes(125), form=2),
    "8 bytes of length for 65535": frame(FIN | BINARY, bytes(65535), form=8),
    "close of 1 byte": frame(FIN | CLOSE, b"x"),
    "close 1005": close(1005),
    "close 1006": close(1006),
    "close 1015": close(1015),
    "close 999": close(999),
    "close 2999": close(2999),
    "close 5000": close(5000),
}
WRONG_COMPRESSED: Final = {
    "RSV1 on a ping": frame(FIN | RSV1 | PING),
    "RSV1 on a continuation": frame(RSV1 | TEXT, b"") + frame(FIN | RSV1 | CONT, b""),
}
# 8 bytes of length whose first bit is set (RFC 6455 §5.2); others take it for a large number.
TOO_BIG: Final = {
    "2^63": frame(FIN | BINARY, form=8, size=1 << 63),
    "2^62": frame(FIN | BINARY, form=8, size=1 << 62),
    "1 GiB": frame(FIN | BINARY, form=8, size=1 << 30),
    "1 GiB of text": frame(FIN | TEXT, form=8, size=1 << 30),
    "1 GiB of continuation": frame(BINARY) + frame(CONT, form=8, size=1 << 30),
    "a byte over the limit": frame(FIN | BINARY, form=8, size=4 * MIB + 1),
}
NOT_UTF8: Final = {
    "incomplete": text(b"\xce\xba\xff"),
    "surrogate": text(b"\xed\xa0\x80"),
    "overlong": text(b"\xc0\xaf"),
    "cut": text("ä".encode()[:1]),
    "in a fragment": frame(TEXT, b"good \xff"),  # FIN never comes
    "in a later fragment": frame(TEXT, b"good") + frame(CONT, b"\xff"),
    "across fragments": frame(TEXT, b"\xce") + frame(CONT, b"\x20"),
    "in part of a frame": frame(FIN | TEXT, b"good \xff", size=100_000),
    "in a reason": close(1000, b"\xff"),
}


@pytest.mark.parametrize("case", [*WRONG, *WRONG_COMPRESSED])
def test_what_breaks_the_protocol_is_1002_with_a_close(
    server: Server, notes: Notes, case: str
) -> None:
    fields = [] if case in WRONG else [DEFLATE]
    with opened(server, f"/echo?{notes.query}", *fields) as raw:
        raw.send((WRONG | WRONG_COMPRESSED)[case])
        code, reason = raw.closed()
        assert code == 1002
        assert reason
        assert raw.end() == CLOSED
    notes.wait_for(f"disconnect 1002 {reason}")


@pytest.mark.parametrize("case", TOO_BIG)
def test_what_is_announced_as_too_long_is_1009_before_it_comes(
    server: Server, notes: Notes, case: str
) -> None:
    with opened(server, f"/echo?{notes.query}") as raw:
        raw.send(TOO_BIG[case])
        code, reason = raw.closed()
        assert code == (1002 if case == "2^63" else 1009)
        assert raw.end() == CLOSED
    notes.wait_for(f"disconnect {code} {reason}")


@pytest.mark.parametrize("case", NOT_UTF8)
def test_what_is_not_utf_8_is_1007_as_soon_as_it_is_seen(
    server: Server, notes: Notes, case: str
) -> None:
    with opened(server, f"/echo?{notes.query}") as raw:
        raw.send(NOT_UTF8[case])
        code, reason = raw.closed()
        assert code == 1007
        assert raw.end() == CLOSED
    notes.wait_for(f"disconnect 1007 {reason}")


def test_a_letter_split_over_fragments_is_a_letter(server: Server) -> None:
    with opened(server, "/echo") as raw:
        for byte in "𝄞".encode():
            raw.send(frame(TEXT if byte == 0xF0 else CONT, bytes((byte,))))
        raw.send(frame(FIN | CONT))
        assert raw.frame() == (FIN | TEXT, "𝄞".encode())


def test_a_message_too_long_in_fragments_is_1009_at_the_limit(server: Server) -> None:
    memory = Memory(server)
    with opened(server, "/echo") as raw:
        for piece in fragments(bytes(4 * MIB), 64 * KIB):
            raw.send(piece)
        raw.send(frame(CONT, b"x")[:6])  # the head of one more
        assert raw.closed()[0] == 1009
    assert memory.growth() < 4 * MIB + 64 * KIB + MARGIN


def test_a_peer_that_goes_on_sending_what_is_too_long_is_not_held(server: Server) -> None:
    memory = Memory(server)
    with opened(server, "/echo") as raw:
        raw.send(frame(FIN | BINARY, form=8, size=1 << 30))
        assert raw.closed()[0] == 1009
        for _ in range(1024):
            raw.send(bytes(64 * KIB))
    assert memory.growth() < MARGIN


def test_too_many_fragments_are_1008_though_they_are_empty(server: Server) -> None:
    with opened(server, "/echo") as raw:
        raw.send(frame(BINARY) + frame(CONT) * 1024)
        assert raw.closed()[0] == 1008


@pytest.mark.parametrize("how", ["one frame", "fragments", "fragments with pings"])
def test_a_bomb_is_1009_and_costs_no_more_than_the_limit(server: Server, how: str) -> None:
    bomb = deflated(256 * MIB)
    assert len(bomb) < 300 * KIB
    if how == "one frame":
        data = frame(FIN | RSV1 | BINARY, bomb)
    else:
        between = frame(FIN | PONG) if how.endswith("pings") else b""
        data = between.join(fragments(bomb, 4 * KIB, first=RSV1 | BINARY))
    memory = Memory(server)
    with opened(server, "/echo", DEFLATE) as raw:
        raw.send(data)
        code, reason = raw.closed()
        assert (code, reason) == (1009, f"message over {4 * MIB} bytes")
    assert memory.growth() < 4 * MIB + MARGIN


def test_what_is_no_deflate_data_is_1007(server: Server) -> None:
    with opened(server, "/echo", DEFLATE) as raw:
        raw.send(frame(FIN | RSV1 | TEXT, b"\xff\xff\xff\xff"))
        assert raw.closed()[0] == 1007


def test_pings_without_end_that_nobody_reads_the_answers_of_stop_the_reading(
    server: Server,
) -> None:
    memory = Memory(server)
    pings = frame(FIN | PING, bytes(100)) * 500
    with opened(server, "/echo", receive_buffer=4096) as raw:
        send_until_it_stalls(raw, pings)
        assert memory.growth() < MARGIN
        with opened(server, "/echo") as other:
            other.send(text("served"))
            assert other.frame() == (FIN | TEXT, b"served")


@pytest.mark.parametrize("what", ["messages", "empty messages", "fragments", "one message"])
def test_an_application_that_does_not_ask_stops_the_reading(
    server: Server, notes: Notes, what: str
) -> None:
    """... and gets it all, once it asks."""
    piece = {
        "messages": frame(FIN | BINARY, bytes(KIB)) * 64,
        "empty messages": frame(FIN | BINARY) * 10_000,
        "fragments": (frame(BINARY, bytes(512)) + frame(FIN | CONT, bytes(512))) * 64,
        "one message": frame(FIN | BINARY, bytes(64 * KIB)),
    }[what]
    memory = Memory(server)
    with opened(server, f"/slow?{notes.query}") as raw:
        sent, rest = send_until_it_stalls(raw, piece)
        assert memory.growth() < MARGIN
        notes.open_gate()
        raw.send(rest + text("how much?"))
        _, said = raw.frame()
        assert int(said) == (0 if what == "empty messages" else (sent + 1) * 64 * KIB)


def test_what_comes_behind_a_close_is_not_looked_at(server: Server, notes: Notes) -> None:
    with opened(server, f"/echo?{notes.query}") as raw:
        raw.send(close(1000) + text("more") + frame(FIN | RSV2 | TEXT, mask=None) + MASK)
        assert raw.closed() == (1000, "")
        assert raw.end() == CLOSED
    notes.wait_for("disconnect 1000")
