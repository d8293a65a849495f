"""The cases, by the section that they are about: what a client does, and what must come of it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from hpack.hpack import Encoder

from pounce.asgi import Header
from tests.h2spec.peer import Peer, frame

PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, COMPRESSION = 1, 3, 5, 6, 7, 9
METHOD, SCHEME, PATH, AUTHORITY = GET = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"localhost"),
]
POST: Final = [(b":method", b"POST"), *GET[1:]]
PING: Final = frame(6, 0, 0, b"are you?")


def block(*fields: Header) -> bytes:
    return Encoder().encode([(name, value, True) for name, value in fields or GET])


def ask(stream: int, *fields: Header, flags: int = 5) -> bytes:
    return frame(1, flags, stream, block(*fields))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(4, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def number(value: int) -> bytes:
    return struct.pack(">I", value)


class Case(NamedTuple):
    """One of them.

    Attributes:
        name: section and what is done.
        sent: after the handshake.
        holds: what must come to be true.
        settings: of the client, in the handshake.
        first, then: what must come to be true before more is sent, and what.
    """

    name: str
    sent: bytes
    holds: Callable[[Peer], bool]
    settings: bytes = frame(4, 0, 0)
    first: Callable[[Peer], bool] | None = None
    then: bytes = b""


def fails(*codes: int) -> Callable[[Peer], bool]:
    """A connection error: GOAWAY with one of the codes, and the end."""
    return lambda peer: peer.goaway() in codes and peer.closed


def resets(stream: int, *codes: int) -> Callable[[Peer], bool]:
    """A stream error, which may be made one of the connection (RFC 9113 §5.4.2)."""
    return lambda peer: peer.reset(stream) in codes or peer.goaway() in codes


def answers(stream: int) -> Callable[[Peer], bool]:
    return lambda peer: peer.answered(stream)


def alive(peer: Peer) -> bool:
    """Our ping was answered."""
    return (6, 1, 0, b"are you?") in peer.frames


def gives(stream: int, *sizes: int) -> Callable[[Peer], bool]:
    return lambda peer: peer.data(stream) == list(sizes)


def with_fields(*fields: Header) -> bytes:
    return ask(1, *GET, *fields)


HALF: Final = ask(1, *POST, flags=4)  # a request whose body is to come
SPLIT: Final = frame(1, 1, 1, block()[:2])  # a header block whose rest is to come
REST: Final = block()[2:]
DONE: Final = ask(1)
SELF: Final = struct.pack(">IB", 1, 15)
TEXT: Final = b"\0\x85\xf2\xb2\x4a\x84\xff"  # a literal field named x-test, its value to come

STARTING: Final = [
    Case("3.4 a request after the preface", DONE, answers(1)),
    Case(
        "3.4 SETTINGS of a stream of its own are acknowledged",
        settings(),
        lambda p: any(kind == 4 and flags & 1 for kind, flags, _, _ in p.frames),
    ),
]
FRAMES: Final = [
    Case("4.1 unknown type", frame(0xFF, 0, 0, bytes(8)) + PING, alive),
    Case("4.1 undefined flags", frame(6, 0x16, 0, b"are you?"), alive),
    Case("4.1 reserved bit", b"\0\0\x08\x06\0\x80\0\0\0are you?", alive),
    Case("4.2 DATA of 2^14", HALF + frame(0, 1, 1, bytes(16384)), answers(1)),
    Case("4.2 DATA over it", HALF + frame(0, 1, 1, bytes(16385)), resets(1, SIZE)),
    Case("4.2 HEADERS over it", frame(1, 5, 1, bytes(16385)), fails(SIZE)),
    Case("4.2 SETTINGS over it", frame(4, 0, 0, bytes(16386)), fails(SIZE)),
    Case("4.3 block that cannot be decoded", frame(1, 5, 1, b"\x40\x01\xff"), fails(COMPRESSION)),
    Case("4.3 PRIORITY in a block", SPLIT + frame(2, 0, 1, number(0) + b"\xff"), fails(PROTOCOL)),
    Case("4.3 other HEADERS in a block", SPLIT + ask(3), fails(PROTOCOL)),
]
IDLE: Final = {
    "DATA": frame(0, 1, 1, b"a"),
    "RST_STREAM": frame(3, 0, 1, number(8)),
    "WINDOW_UPDATE": frame(8, 0, 1, number(100)),
    "CONTINUATION": frame(9, 4, 1, block()),
}
AFTER: Final = {"DATA": frame(0, 1, 1, b"a"), "HEADERS": ask(1), "CONTINUATION": frame(9, 4, 1)}
RESET: Final = HALF + frame(3, 0, 1, number(8))
STREAMS: Final = [
    *(Case(f"5.1 idle: {name}", sent, fails(PROTOCOL)) for name, sent in IDLE.items()),
    *(
        Case(f"5.1 half-closed (remote): {name}", DONE + sent, resets(1, CLOSED, PROTOCOL))
        for name, sent in AFTER.items()
    ),
    *(
        Case(f"5.1 closed by RST_STREAM: {name}", RESET + sent, resets(1, CLOSED, PROTOCOL))
        for name, sent in AFTER.items()
        if name != "DATA"
    ),
    Case("5.1 closed by RST_STREAM: DATA is dropped", RESET + frame(0, 1, 1, b"a") + PING, alive),
    Case("5.1 closed: PRIORITY", DONE + frame(2, 0, 1, number(0) + b"\1") + PING, alive),
    Case("5.1 closed: WINDOW_UPDATE", RESET + frame(8, 0, 1, number(1)) + PING, alive),
    Case("5.1 closed: RST_STREAM", RESET + frame(3, 0, 1, number(8)) + PING, alive),
    Case("5.1.1 even number", ask(2), fails(PROTOCOL)),
    Case("5.1.1 smaller number", ask(5) + ask(3), fails(PROTOCOL)),
    Case(
        "5.1.2 too many streams",
        b"".join(ask(n, *POST, flags=4) for n in range(1, 204, 2)),
        lambda p: p.reset(203) in (PROTOCOL, REFUSED),
    ),
    Case(
        "5.3.1 HEADERS of a stream that depends on itself",
        frame(1, 0x25, 1, SELF + block()),
        resets(1, PROTOCOL),
    ),
    Case("5.3.1 PRIORITY of one that does", frame(2, 0, 1, SELF), resets(1, PROTOCOL)),
    Case("5.4.1 it is closed after an error", frame(6, 0, 3, bytes(8)), fails(PROTOCOL)),
    Case("5.5 unknown frame in a header block", SPLIT + frame(0xFF, 0, 1, b"a"), fails(PROTOCOL)),
]
DEFINITIONS: Final = [
    Case("6.1 DATA of stream 0", frame(0, 1, 0, b"a"), fails(PROTOCOL)),
    Case("6.1 DATA of a closed stream", DONE + frame(0, 1, 1, b"a"), resets(1, CLOSED)),
    Case("6.1 DATA with too much padding", HALF + frame(0, 9, 1, b"\x06abcd"), fails(PROTOCOL)),
    Case("6.1 DATA with padding", HALF + frame(0, 9, 1, b"\x02a\0\0"), answers(1)),
    Case("6.2 HEADERS of stream 0", ask(0), fails(PROTOCOL)),
    Case("6.2 HEADERS with too much padding", frame(1, 0xD, 1, b"\xff" + block()), fails(PROTOCOL)),
    Case(
        "6.2 HEADERS with padding and priority",
        frame(1, 0x2D, 1, b"\x01" + number(0) + b"\xff" + block() + b"\0"),
        answers(1),
    ),
    Case("6.3 PRIORITY of stream 0", frame(2, 0, 0, number(0) + b"\1"), fails(PROTOCOL)),
    Case("6.3 PRIORITY of 4 bytes", DONE + frame(2, 0, 1, number(0)), resets(1, SIZE)),
    Case("6.4 RST_STREAM of stream 0", frame(3, 0, 0, number(8)), fails(PROTOCOL)),
    Case("6.4 RST_STREAM of an idle stream", frame(3, 0, 1, number(8)), fails(PROTOCOL)),
    Case("6.4 RST_STREAM of 3 bytes", HALF + frame(3, 0, 1, bytes(3)), fails(SIZE)),
    Case("6.5 SETTINGS ACK with a payload", frame(4, 1, 0, bytes(6)), fails(SIZE)),
    Case("6.5 SETTINGS of a stream", frame(4, 0, 1), fails(PROTOCOL)),
    Case("6.5 SETTINGS of 3 bytes", frame(4, 0, 0, bytes(3)), fails(SIZE)),
    Case("6.5.2 ENABLE_PUSH of 2", settings((2, 2)), fails(PROTOCOL)),
    Case("6.5.2 INITIAL_WINDOW_SIZE over 2^31-1", settings((4, 2**31)), fails(FLOW)),
    Case("6.5.2 MAX_FRAME_SIZE under 2^14", settings((5, 16383)), fails(PROTOCOL)),
    Case("6.5.2 MAX_FRAME_SIZE over 2^24-1", settings((5, 2**24)), fails(PROTOCOL)),
    Case("6.5.2 unknown setting", settings((0xFF, 1)) + PING, alive),
    Case("6.5.3 the last of two values", settings((4, 100), (4, 1)) + DONE, gives(1, 1)),
    Case("6.6 PUSH_PROMISE", HALF + frame(5, 4, 1, number(2) + block()), fails(PROTOCOL)),
    Case("6.7 PING", PING, alive),
    Case(
        "6.7 PING ACK is not answered",
        frame(6, 1, 0, b"no, not.") + PING,
        lambda p: alive(p) and (6, 1, 0, b"no, not.") not in p.frames,
    ),
    Case("6.7 PING of a stream", frame(6, 0, 1, bytes(8)), fails(PROTOCOL)),
    Case("6.7 PING of 6 bytes", frame(6, 0, 0, bytes(6)), fails(SIZE)),
    Case("6.8 GOAWAY of a stream", frame(7, 0, 1, bytes(8)), fails(PROTOCOL)),
    Case("6.8 GOAWAY of 4 bytes", frame(7, 0, 0, bytes(4)), fails(SIZE)),
    Case("6.8 GOAWAY lets the answer come", DONE + frame(7, 0, 0, bytes(8)), answers(1)),
    Case("6.9 WINDOW_UPDATE of 0", frame(8, 0, 0, number(0)), fails(PROTOCOL)),
    Case("6.9 the same of a stream", HALF + frame(8, 0, 1, number(0)), resets(1, PROTOCOL)),
    Case("6.9 WINDOW_UPDATE of 3 bytes", frame(8, 0, 0, bytes(3)), fails(SIZE)),
    Case(
        "6.9.1 window of the connection over 2^31-1",
        frame(8, 0, 0, number(2**31 - 1)) * 2,
        fails(FLOW),
    ),
    Case(
        "6.9.1 window of a stream over it",
        HALF + frame(8, 0, 1, number(2**31 - 1)) * 2,
        resets(1, FLOW),
    ),
    Case("6.9.1 a window of 1", settings((4, 1)) + DONE, gives(1, 1)),
    Case(
        "6.9.2 a window that grows by SETTINGS",
        settings((4, 0)) + DONE + settings((4, 1)),
        gives(1, 1),
    ),
    Case(
        "6.9.2 a window below nothing",
        DONE,
        gives(1, 3, 1),
        settings((4, 3)),
        gives(1, 3),
        settings((4, 2)) + frame(8, 0, 1, number(2)),
    ),
    Case(
        "6.9.2 windows over 2^31-1 by SETTINGS",
        HALF + frame(8, 0, 1, number(2**31 - 1 - 65535)) + settings((4, 65536)),
        fails(FLOW),
    ),
    Case(
        "6.10 CONTINUATION in pieces",
        SPLIT + frame(9, 0, 1, REST[:1]) + frame(9, 4, 1, REST[1:]),
        answers(1),
    ),
    Case("6.10 DATA in a header block", SPLIT + frame(0, 0, 1, b"a"), fails(PROTOCOL)),
    Case("6.10 CONTINUATION of stream 0", SPLIT + frame(9, 4, 0, REST), fails(PROTOCOL)),
    Case("6.10 CONTINUATION behind a whole block", HALF + frame(9, 4, 1), fails(PROTOCOL)),
    Case(
        "6.10 CONTINUATION behind its end",
        frame(1, 0, 1, b"") + frame(9, 4, 1, block(*POST)) + frame(9, 4, 1),
        fails(PROTOCOL),
    ),
    Case(
        "6.10 CONTINUATION behind DATA",
        HALF + frame(0, 0, 1, b"a") + frame(9, 4, 1),
        fails(PROTOCOL),
    ),
    Case(
        "7 GOAWAY with an unknown code", DONE + frame(7, 0, 0, number(0) + number(0xFF)), answers(1)
    ),
    Case("7 RST_STREAM with an unknown code", HALF + frame(3, 0, 1, number(0xFF)) + PING, alive),
]
MALFORMED: Final = {
    "8.2.1 upper case": [*GET, (b"X-A", b"b")],
    "8.2.1 NUL": [*GET, (b"x", b"a\0")],
    "8.2.2 connection": [*GET, (b"connection", b"close")],
    "8.2.2 te": [*GET, (b"te", b"trailers, gzip")],
    "8.3 unknown pseudo-header": [*GET, (b":test", b"a")],
    "8.3 pseudo-header of answers": [*GET, (b":status", b"200")],
    "8.3 pseudo-header behind others": [*GET[:3], (b"x", b"y"), AUTHORITY],
    "8.3.1 :path empty": [METHOD, SCHEME, (b":path", b""), AUTHORITY],
    "8.3.1 no :method": [SCHEME, PATH, AUTHORITY],
    "8.3.1 no :scheme": [METHOD, PATH, AUTHORITY],
    "8.3.1 no :path": [METHOD, SCHEME, AUTHORITY],
    "8.3.1 :method twice": [METHOD, *GET],
    "8.3.1 :scheme twice": [METHOD, SCHEME, *GET[1:]],
    "8.3.1 :path twice": [METHOD, SCHEME, PATH, *GET[2:]],
}
SHORT: Final = ask(1, *POST, (b"content-length", b"1"), flags=4)
MESSAGES: Final = [
    *(Case(name, ask(1, *fields), resets(1, PROTOCOL)) for name, fields in MALFORMED.items()),
    Case(
        "8.1 second HEADERS without an end",
        HALF + ask(1, (b"x", b"y"), flags=4),
        resets(1, PROTOCOL),
    ),
    Case("8.1 pseudo-header in trailers", HALF + ask(1, METHOD), resets(1, PROTOCOL)),
    Case("8.1 trailers", HALF + frame(0, 0, 1, b"a") + ask(1, (b"x", b"y")), answers(1)),
    Case("8.1.1 content-length that is longer", SHORT + frame(0, 1, 1), resets(1, PROTOCOL)),
    Case(
        "8.1.1 content-length that is shorter",
        SHORT + frame(0, 0, 1, b"a") + frame(0, 1, 1, b"b"),
        resets(1, PROTOCOL),
    ),
    Case(
        "8.3.1 OPTIONS *",
        ask(1, (b":method", b"OPTIONS"), SCHEME, (b":path", b"*"), AUTHORITY),
        answers(1),
    ),
    Case("8.3.1 HEAD", ask(1, (b":method", b"HEAD"), *GET[1:]), answers(1)),
]
HPACK: Final = [
    Case("7541 2.3.3 index past the tables", frame(1, 5, 1, block() + b"\xfe"), fails(COMPRESSION)),
    Case(
        "7541 2.3.3 name past the tables",
        frame(1, 5, 1, block() + b"\x7e\x01a"),
        fails(COMPRESSION),
    ),
    Case(
        "7541 4.2 table size at the end of a block",
        frame(1, 5, 1, block() + b"\x20"),
        fails(COMPRESSION),
    ),
    Case("7541 4.2 table size at the beginning", frame(1, 5, 1, b"\x20" + block()), answers(1)),
    Case(
        "7541 5.2 padding of more than 7 bits",
        frame(1, 5, 1, block() + TEXT + b"\x84\x49\x50\x9f\xff"),
        fails(COMPRESSION),
    ),
    Case(
        "7541 5.2 padding that is not of ones",
        frame(1, 5, 1, block() + TEXT + b"\x83\x49\x50\x90"),
        fails(COMPRESSION),
    ),
    Case(
        "7541 5.2 EOS",
        frame(1, 5, 1, block() + TEXT + b"\x87\x49\x51\xff\xff\xff\xfa\x7f"),
        fails(COMPRESSION),
    ),
    Case("7541 6.1 index 0", frame(1, 5, 1, block() + b"\x80"), fails(COMPRESSION)),
    Case(
        "7541 6.2.1 literal that is remembered",
        frame(1, 5, 1, block() + b"\x40\x01x\x01y") + frame(1, 5, 3, block() + b"\xbe"),
        answers(3),
    ),
    Case("7541 6.2.2 literal that is not", frame(1, 5, 1, block() + b"\0\x01x\x01y"), answers(1)),
    Case(
        "7541 6.2.3 literal that never is", frame(1, 5, 1, block() + b"\x10\x01x\x01y"), answers(1)
    ),
    Case(
        "7541 6.3 table size over the limit",
        frame(1, 5, 1, b"\x3f\xe2\x1f" + block()),
        fails(COMPRESSION),
    ),
]
CASES: Final = [*STARTING, *FRAMES, *STREAMS, *DEFINITIONS, *MESSAGES, *HPACK]
