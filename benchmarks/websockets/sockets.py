"""Client sockets that have become WebSockets, and how each is proven to echo before it is measured.

Reads no frame but with frames.py, and judges nothing: what is wrong is a BenchmarkError.
"""

from __future__ import annotations

import contextlib
import socket
import zlib
from collections.abc import Iterator
from typing import Final

from benchmarks.running import HOST, BenchmarkError
from benchmarks.websockets.frames import RSV1, TAIL, Messages, take

PATIENCE_S: Final = 30.0
SOURCES: Final = 8  # addresses of 127.0.0.0/8 to come from: ports are few for 10,000 sockets
EXTENSION: Final = b"permessage-deflate"
# What Chromium offers.
OFFER: Final = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


def request(path: str, *, deflate: bool) -> bytes:
    return (
        (
            f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        ).encode()
        + (OFFER if deflate else b"")
        + b"\r\n"
    )


def check(head: bytes, *, deflate: bool) -> None:
    """Refuses all but 101 with the extension that was offered.

    Raises:
        BenchmarkError: with the server's own words.
    """
    status, _, fields = head.partition(b"\r\n")
    if b" 101 " not in status + b" ":
        raise BenchmarkError(f"the WebSocket was answered with {status.decode('latin-1')!r}")
    agreed = any(
        line.lower().startswith(b"sec-websocket-extensions:") and EXTENSION in line
        for line in fields.split(b"\r\n")
    )
    if agreed is not deflate:
        raise BenchmarkError(
            "permessage-deflate was " + ("agreed unasked" if agreed else "not agreed to")
        )


def source(number: int) -> tuple[str, int]:
    return f"127.0.0.{2 + number % SOURCES}", 0


def connect(port: int, path: str, *, deflate: bool = False, number: int = 0) -> socket.socket:
    """One WebSocket, blocking."""
    client = socket.create_connection((HOST, port), PATIENCE_S, source_address=source(number))
    try:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(request(path, deflate=deflate))
        head = b""
        while b"\r\n\r\n" not in head:  # one byte further would be a frame's
            head += received(client)
        if not head.endswith(b"\r\n\r\n"):
            raise BenchmarkError("the server spoke before it was spoken to")
        check(head, deflate=deflate)
    except BaseException:
        client.close()
        raise
    return client


@contextlib.contextmanager
def connected(
    port: int, path: str, number: int, *, deflate: bool = False
) -> Iterator[list[socket.socket]]:
    """So many of them, closed at the end of the block without a word."""
    held: list[socket.socket] = []
    try:
        for at in range(number):
            held.append(connect(port, path, deflate=deflate, number=at))  # noqa: PERF401  # closed
        yield held
    finally:
        for client in held:
            client.close()


def received(client: socket.socket) -> bytes:
    if data := client.recv(1 << 18):
        return data
    raise BenchmarkError("the server closed a WebSocket that was to stay open")


def prove(port: int, path: str, messages: Messages) -> None:
    """Sends each message once and compares: a fast wrong echo is not an echo."""
    client = connect(port, path, deflate=messages.deflate)
    inflate = zlib.decompressobj(wbits=-15)  # a window this large reads what any other wrote
    kept = b""
    with client:
        for payload, frame in zip(messages.payloads, messages.frames(), strict=True):
            client.sendall(frame)
            while (frame_back := take(kept)) is None:
                kept += received(client)
            first, back, kept = frame_back
            if first & RSV1:
                back = inflate.decompress(back + TAIL)
            if first & ~RSV1 != messages.first or back != payload:
                raise BenchmarkError(
                    f"a message of {len(payload)} bytes was echoed with a first byte of "
                    f"{first:#x} and {len(back)} bytes, not as it was sent"
                )
            if messages.deflate and not first & RSV1:
                raise BenchmarkError("the echo was not compressed, though that was agreed")
