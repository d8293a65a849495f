"""The floors: what echoes cost without ASGI, by a uvloop protocol and by picows.

The protocol writes fixed bytes for as many as a message has: it parses nothing and unmasks nothing.
picows is a WebSocket library in C: it echoes, and calls no application.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import importlib
import signal
from typing import Any, cast

import uvloop

from benchmarks.running import HOST


def handshake_answer(request: bytes) -> bytes:
    """RFC 6455 §4.2.2."""
    (key,) = (
        line.partition(b":")[2].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


class Fixed(asyncio.Protocol):
    """Answers each `size` bytes, which may come in pieces, with the same bytes."""

    __slots__ = ("answer", "got", "open", "size", "write")

    def __init__(self, size: int, answer: bytes) -> None:
        self.size = size
        self.answer = answer
        self.got = 0
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transport is of no asyncio class.
        self.write = cast(asyncio.WriteTransport, transport).write

    def data_received(self, data: bytes) -> None:
        if not self.open:
            self.open = True
            self.write(handshake_answer(data))
            return
        self.got += len(data)
        while self.got >= self.size:
            self.got -= self.size
            self.write(self.answer)


async def until_told() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


async def serve_fixed(port: int, case_name: str) -> None:
    # The cases are imported here, so that the floor's answers cannot differ from the others'.
    from benchmarks.websockets.cases import CASES
    from benchmarks.websockets.frames import plain

    (messages,) = (case.load.messages for case in CASES if case.name == case_name)
    size = len(messages.frames()[0])
    answer = plain(messages.first, messages.payloads[0])
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Fixed(size, answer), HOST, port, backlog=2048)
    await until_told()


async def serve_picows(port: int) -> None:
    picows: Any = importlib.import_module("picows")  # few who check types have it installed

    def echo(self: object, transport: Any, frame: Any) -> None:
        transport.send(frame.msg_type, frame.get_payload_as_bytes())

    listener = type("Echo", (picows.WSListener,), {"on_ws_frame": echo})
    await picows.ws_create_server(
        lambda request: listener(), HOST, port, max_frame_size=16 * 1024 * 1024, backlog=2048
    )
    await until_told()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--case", default="", help="fixed answers to this; without it picows")
    given = parser.parse_args()
    uvloop.run(serve_fixed(given.port, given.case) if given.case else serve_picows(given.port))


if __name__ == "__main__":
    main()
