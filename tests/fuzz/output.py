"""What a client makes of the server's bytes, which must be right in every story."""

from __future__ import annotations

from typing import Final

from wsproto import events
from wsproto.connection import Connection, ConnectionType
from wsproto.extensions import Extension, PerMessageDeflate

# Written down anew, so as not to believe what is to be checked.
SENDABLE: Final = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
HEADER: Final = b"\r\nsec-websocket-extensions: "


def read(output: bytes) -> list[str | bytes]:
    """The messages of a server's output; raises AssertionError for what no server may write."""
    head, blank, frames = output.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        assert not output or output.startswith(b"HTTP/1.1 "), output[:80]
        return []
    assert blank
    extensions: list[Extension] = []
    if (at := head.find(HEADER)) >= 0:
        deflate = PerMessageDeflate()
        deflate.offer()
        deflate.finalize(head[at + len(HEADER) :].partition(b"\r\n")[0].decode())
        extensions.append(deflate)
    check_frames(frames, compressed=bool(extensions))
    client = Connection(ConnectionType.CLIENT, extensions)
    client.receive_data(frames)
    messages: list[str | bytes] = []
    for event in client.events():
        if isinstance(event, events.Message):
            assert event.message_finished
            data = event.data
            messages.append(data if isinstance(data, str) else bytes(data))
        elif isinstance(event, events.CloseConnection):
            assert event.code in SENDABLE or event.code == 1005, event
    return messages


def check_frames(data: bytes, *, compressed: bool) -> None:
    at = 0
    closed = False
    while at < len(data):
        assert not closed, f"{data[at : at + 40]!r} behind a Close"
        assert at + 2 <= len(data), "half a head"
        first, size = data[at], data[at + 1]
        opcode = first & 0x0F
        assert first & 0x80, f"a fragment: {first:#x}"
        assert opcode in (1, 2, 8, 9, 10), f"opcode {opcode}"
        assert not first & 0x30, f"reserved bits: {first:#x}"
        assert not first & 0x40 or (compressed and opcode < 3), f"RSV1: {first:#x}"
        assert size < 0x80, "masked"
        at += 2
        if size > 125:
            assert opcode < 8, "a long control frame"
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[at : at + width], "big")
            assert size > (125 if width == 2 else 65535), "not the shortest form"
            at += width
        assert at + size <= len(data), "half a payload"
        if opcode == 8:
            closed = True
            if size:
                code = int.from_bytes(data[at : at + 2], "big")
                assert code in SENDABLE, f"close code {code}"
                data[at + 2 : at + size].decode()
        at += size
