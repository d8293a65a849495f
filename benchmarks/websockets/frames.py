"""What clients send and must get back: messages, made into frames before the load begins; pure.

Source: RFC 6455 §5.2, RFC 7692 §7.2.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TEXT: Final = 0x81
BINARY: Final = 0x82
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
RSV1: Final = 0x40  # compressed
MASK: Final = b"\x3a\xc5\x71\x9e"
SHORT: Final = 125  # the longest payload whose length fits into the second byte
TAIL: Final = b"\x00\x00\xff\xff"
DIFFERENT: Final = 64  # messages that take turns: a compressor makes 3 bytes of a repeated one


def length_of(size: int, flag: int) -> bytes:
    if size <= SHORT:
        return bytes([flag | size])
    if size < 0x10000:
        return bytes([flag | 126]) + size.to_bytes(2, "big")
    return bytes([flag | 127]) + size.to_bytes(8, "big")


def masked(first: int, payload: bytes) -> bytes:
    """A client's frame."""
    size = len(payload)
    key = (MASK * (size // 4 + 1))[:size]
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
    return bytes([first]) + length_of(size, 0x80) + MASK + hidden.to_bytes(size, "big")


def plain(first: int, payload: bytes) -> bytes:
    """A server's frame."""
    return bytes([first]) + length_of(len(payload), 0) + payload


def take(data: bytes) -> tuple[int, bytes, bytes] | None:
    """First byte, payload and what follows of a server's frame; None while it is incomplete."""
    if len(data) < 2:
        return None
    start, size = 2, data[1]
    if size > SHORT:
        start = 4 if size == 126 else 10
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    return data[0], data[start : start + size], data[start + size :]


def deflated(payload: bytes) -> bytes:
    """Compressed without context: right whatever was agreed about windows and takeover.

    No reference of a short message reaches further back than the smallest window.
    """
    compressor = zlib.compressobj(wbits=-9)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one kind and size.

    Attributes:
        first: of the frames, TEXT or BINARY.
        payloads: as the application sees them.
        deflate: compressed in both directions.
    """

    first: int
    payloads: Sequence[bytes]
    deflate: bool = False

    def frames(self) -> list[bytes]:
        """To be sent."""
        if self.deflate:
            return [masked(self.first | RSV1, deflated(payload)) for payload in self.payloads]
        return [masked(self.first, payload) for payload in self.payloads]

    @property
    def answer(self) -> int:
        """Bytes of each echo; 0 if that is the server's compressor's to decide."""
        return 0 if self.deflate else len(plain(self.first, self.payloads[0]))


def texts(size: int, *, deflate: bool = False) -> Messages:
    """Somewhat like what a chat says, in ASCII."""
    chance = random.Random(64)
    said = [
        f'{{"from":"user{chance.randrange(100)}","at":{chance.randrange(10**9)},"text":"'.encode()
        for _ in range(DIFFERENT)
    ]
    words = b"hello there, how are you today and what is new in the lobby? "
    filled = [begun + words * (size // len(words) + 1) for begun in said]
    return Messages(TEXT, [each[: size - 2] + b'"}' for each in filled], deflate)


def binaries(size: int, *, different: int) -> Messages:
    chance = random.Random(size)
    return Messages(BINARY, [chance.randbytes(size) for _ in range(different)])
