"""HTTP/2 frames as bytes: their types and flags, and those that are written without a library.

Source: RFC 9113 §4.1 and §6; RFC 9218 §7 (PRIORITY_UPDATE).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9
PRIORITY_UPDATE: Final = 0x10

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

HEAD_SIZE: Final = 9  # bytes in front of every payload
FRAME_LIMIT: Final = 16384  # the payload that everybody must take, and all that we do
LAST_STREAM: Final = 2**31 - 1
HIGHEST_WINDOW: Final = 2**31 - 1

HEADER_TABLE_SIZE: Final = 0x1
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8  # RFC 8441 §3
NO_RFC7540_PRIORITIES: Final = 0x9  # RFC 9218 §2.1

_HEAD: Final = struct.Struct(">HBBBI")
# Length of the payload in two parts, type, flags and stream of the frame at an offset.
read_head: Final = _HEAD.unpack_from


def frame_head(size: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes in front of a payload of `size` bytes."""
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream)


def header_frames(stream: int, block: bytes, limit: int, *, end: bool) -> list[bytes]:
    """HEADERS, and as many CONTINUATION as it takes."""
    flags = END_STREAM if end else 0
    if len(block) <= limit:
        return [frame_head(len(block), HEADERS, flags | END_HEADERS, stream), block]
    frames = [frame_head(limit, HEADERS, flags, stream), block[:limit]]
    for at in range(limit, len(block), limit):
        piece = block[at : at + limit]
        last = END_HEADERS if at + limit >= len(block) else 0
        frames += [frame_head(len(piece), CONTINUATION, last, stream), piece]
    return frames


def settings_frame(settings: Iterable[tuple[int, int]]) -> bytes:
    payload = b"".join([struct.pack(">HI", *each) for each in settings])
    return frame_head(len(payload), SETTINGS, 0, 0) + payload


def window_update(stream: int, size: int) -> bytes:
    return frame_head(4, WINDOW_UPDATE, 0, stream) + size.to_bytes(4, "big")


def rst_stream(stream: int, code: int) -> bytes:
    return frame_head(4, RST_STREAM, 0, stream) + code.to_bytes(4, "big")


def goaway(last: int, code: int) -> bytes:
    return frame_head(8, GOAWAY, 0, 0) + struct.pack(">II", last, code)


def ping(payload: bytes) -> bytes:
    return frame_head(8, PING, 0, 0) + payload
