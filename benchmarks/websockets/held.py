"""Thousands of WebSockets that rest: opened a batch at a time, kept alive, asked again.

Servers ping who is silent, and opening so many takes a while: pings are answered all along.
"""

from __future__ import annotations

import select
import socket
import time
from enum import Enum
from types import TracebackType
from typing import Final, Self

from benchmarks.running import HOST, BenchmarkError
from benchmarks.websockets.frames import CLOSE, PING, PONG, Messages, masked, take
from benchmarks.websockets.sockets import PATIENCE_S, check, request, source

BATCH: Final = 64  # opened or asked at once


class Step(Enum):
    """What comes next from a server."""

    HEAD = "its answer to the handshake"
    ECHO = "the echo"
    PING = "nothing but pings"


class One:
    """One WebSocket."""

    __slots__ = ("client", "got", "step")

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.got = b""
        self.step = Step.HEAD


class Holder:
    """All of them. Closes them at the end of its block without a word."""

    def __init__(self, port: int, path: str, messages: Messages) -> None:
        self._port = port
        self._deflate = messages.deflate
        self._request = request(path, deflate=messages.deflate)
        self._frames = messages.frames()
        self._held: dict[int, One] = {}
        self._poller = select.epoll()
        self._busy = 0  # those that are at a step other than PING

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._poller.close()
        for one in self._held.values():
            one.client.close()

    def open(self, number: int) -> None:
        """So many more; each has got one echo when this returns."""
        for _ in range(number):
            client = socket.socket()
            self._held[client.fileno()] = One(client)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.bind(source(len(self._held)))
            client.connect((HOST, self._port))
            client.sendall(self._request)
            client.setblocking(False)
            self._poller.register(client.fileno(), select.EPOLLIN)
            self._busy += 1
            if self._busy == BATCH:
                self._wait()
        self._wait()

    def rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._serve(left)

    def ask_all(self) -> None:
        """Each of them once more."""
        for one in self._held.values():
            self._say(one)
            self._busy += 1
            if self._busy == BATCH:
                self._wait()
        self._wait()

    def _wait(self) -> None:
        """Until all are at rest."""
        give_up_at = time.monotonic() + PATIENCE_S
        while self._busy:
            self._serve(1.0)
            if time.monotonic() > give_up_at:
                raise BenchmarkError(f"{self._busy} WebSockets were not answered")

    def _serve(self, patience_s: float) -> None:
        for fd, _ in self._poller.poll(patience_s):
            one = self._held[fd]
            data = one.client.recv(65536)
            if not data:
                raise BenchmarkError("the server closed a WebSocket that was to stay open")
            one.got += data
            self._read(one)

    def _read(self, one: One) -> None:
        if one.step is Step.HEAD:
            if b"\r\n\r\n" not in one.got:
                return
            head, _, one.got = one.got.partition(b"\r\n\r\n")
            check(head, deflate=self._deflate)
            self._say(one)
        while (frame := take(one.got)) is not None:
            first, payload, one.got = frame
            if first == PING:
                one.client.sendall(masked(PONG, payload))
            elif first == CLOSE:
                raise BenchmarkError(f"a WebSocket was closed with {payload!r}")
            elif one.step is Step.ECHO:
                one.step = Step.PING
                self._busy -= 1

    def _say(self, one: One) -> None:
        one.step = Step.ECHO
        one.client.sendall(self._frames[one.client.fileno() % len(self._frames)])
