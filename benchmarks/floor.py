"""The floor: a uvloop protocol that writes fixed bytes; knows no HTTP beyond the blank line.

No server in Python on uvloop can be faster than this, so it is what the others are held against.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import cast

import uvloop


def answer_of(body: bytes) -> bytes:
    """One whole response, with the fields a usual server sends."""
    return (
        b"HTTP/1.1 200 OK\r\n"
        b"date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        b"server: floor\r\n"
        b"content-type: text/plain\r\n"
        b"content-length: %d\r\n\r\n" % len(body)
    ) + body


class Fixed(asyncio.Protocol):
    """Answers each read with one response: right for clients that wait for it."""

    __slots__ = ("answer", "write")

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no check: uvloop's transport is of no asyncio class.
        self.write = cast(asyncio.WriteTransport, transport).write

    def data_received(self, data: bytes) -> None:
        self.write(self.answer)


class Counted(Fixed):
    """Answers as many requests as a read holds; pipelined requests may be cut anywhere."""

    __slots__ = ("rest",)

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        self.rest = data[data.rfind(b"\r\n\r\n") + 4 :] if b"\r\n\r\n" in data else data
        self.write(self.answer * data.count(b"\r\n\r\n"))


async def serve(port: int, answer: bytes, kind: type[Fixed]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: kind(answer), "127.0.0.1", port, backlog=2048)
    await stop.wait()
    server.close()


def main() -> None:
    # The applications are imported here, so that the floor's answers cannot differ from theirs.
    from benchmarks.apps import plain

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answer", choices=["greeting", "page"], default="greeting")
    parser.add_argument("--pipelined", action="store_true")
    given = parser.parse_args()
    body = {"greeting": plain.GREETING, "page": plain.PAGE}[given.answer]
    uvloop.run(serve(given.port, answer_of(body), Counted if given.pipelined else Fixed))


if __name__ == "__main__":
    main()
