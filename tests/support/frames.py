"""A WebSocket client's frames, right and wrong, and who writes down what a server makes of them."""

from __future__ import annotations

from typing import Any

FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x12\xf0\x00\x9b"

Call = tuple[Any, ...]


def xor(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def frame(
    first: int, payload: bytes = b"", *, mask: bytes | None = MASK, form: int = 0, size: int = -1
) -> bytes:
    """One frame.

    Args:
        first: its first byte: flags and opcode.
        mask: None for a frame without one.
        form: bytes of extended length, 0, 2 or 8; the shortest if there is too little room.
        size: what the head says, if not the payload's own.
    """
    size = len(payload) if size < 0 else size
    form = form or (0 if size < 126 else 2 if size < 0x10000 else 8)
    second = {0: size, 2: 126, 8: 127}[form] | (0 if mask is None else 0x80)
    head = bytes((first, second)) + (size.to_bytes(form, "big") if form else b"")
    return head + (payload if mask is None else mask + xor(payload, mask))


def text(words: str | bytes) -> bytes:
    return frame(FIN | TEXT, words.encode() if isinstance(words, str) else words)


def binary(data: bytes) -> bytes:
    return frame(FIN | BINARY, data)


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(FIN | CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


class Recorder:
    """A `MessageReceiver` that keeps its calls as tuples."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def text(self, text: str) -> None:
        self.calls.append(("text", text))

    def binary(self, data: bytes) -> None:
        assert type(data) is bytes
        self.calls.append(("binary", data))

    def ping(self, payload: bytes) -> None:
        assert type(payload) is bytes
        self.calls.append(("ping", payload))

    def pong(self, payload: bytes) -> None:
        assert type(payload) is bytes
        self.calls.append(("pong", payload))

    def closed(self, code: int, reason: str) -> None:
        assert type(code) is int
        self.calls.append(("closed", code, reason))

    def failed(self, code: int, reason: str) -> None:
        assert type(code) is int
        self.calls.append(("failed", code, reason))
