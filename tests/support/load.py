"""Clients that ask all the time, in a process of their own: ``python -m tests.support.load SPEC``.

They never ask again what has failed. A line of JSON says every tenth of a second what has come of
it; the end of standard input ends them, once what they have asked is answered. Knows no server,
only its address: clients.py starts this and judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

PATIENCE: Final = 60.0  # seconds for one request
REPORT: Final = 0.1  # seconds between two reports
PIECE: Final = bytes(65536)
PIECES: Final = 16  # of an upload


class Unexpected(Exception):  # noqa: N818
    """What came is no answer to what was asked."""


@dataclass(frozen=True)
class Kind:
    """How a kind of client asks.

    Attributes:
        once: each request has a connection of its own.
        think_s: between an answer and the next request, on average.
        upload: sends a body of PIECES pieces.
        ends_with: the end of a whole answer.
        single: one request and no more.
    """

    path: str
    once: bool = False
    think_s: float = 0.0
    upload: bool = False
    ends_with: bytes = b""
    single: bool = False


KINDS: Final = {
    "keep": Kind("/", think_s=0.03),
    "idle": Kind("/", think_s=0.4),  # mostly does nothing when a connection is to end
    "new": Kind("/", once=True, think_s=0.03),
    "steady": Kind("/", once=True),  # so many each second, whatever becomes of the others
    "busy": Kind("/busy", once=True),  # the same, and each keeps its worker's event loop for 3 ms
    "slow": Kind("/slow"),
    "stream": Kind("/stream", ends_with=b"end"),
    "upload": Kind("/upload", upload=True, ends_with=str(len(PIECE) * PIECES).encode()),
    "events": Kind("/events", ends_with=b"data: bye\n\n", single=True),
}
BY_THE_CLOCK: Final = {"steady", "busy"}  # these ask for the end of their connections


@dataclass(frozen=True)
class Answer:
    headers: dict[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class Connection:
    """One connection; `pid` is that of the worker that answered on it last."""

    def __init__(self) -> None:
        self.port = 0
        self.pid = ""
        self._buffer = b""
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def open(self, address: tuple[str, int]) -> None:
        try:
            await self._loop.sock_connect(self._socket, address)
        finally:
            self.port = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def has_ended(self) -> bool:
        """Did the server close it while nothing was asked?

        Raises:
            OSError: it did not close it, it broke it off.
            Unexpected: it said something.
        """
        try:
            data = self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        if data or self._buffer:
            raise Unexpected("bytes came that nobody had asked for")
        return True

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    async def answer(self, *, begun: Callable[[], None]) -> Answer:
        """One whole answer; `begun` is called when its head is there."""
        while b"\r\n\r\n" not in self._buffer:
            await self._more("head")
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self.pid = headers.get("x-pid", "")
        if first.split(" ")[1] != "200":
            raise Unexpected(first)
        begun()
        if "content-length" in headers:
            return Answer(headers, await self._take(int(headers["content-length"])))
        return Answer(headers, b"".join([piece async for piece in self._chunks()]))

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            while b"\r\n" not in self._buffer:
                await self._more("chunk")
            size, _, self._buffer = self._buffer.partition(b"\r\n")
            piece = await self._take(int(size, 16) + 2)
            if len(piece) == 2:
                return
            yield piece[:-2]

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more("body")
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    async def _more(self, part: str) -> None:
        data = await self._loop.sock_recv(self._socket, 65536)
        if not data:
            raise Unexpected(f"the connection ended where the {part} was to go on")
        self._buffer += data


class Load:
    """All clients, and what has come of their requests.

    Args:
        leave_s: this long after the first answer that announces the end of its connection, nobody
            asks any more: what a load balancer makes of a server that is about to go.
    """

    def __init__(self, address: tuple[str, int], *, leave_s: float | None) -> None:
        self._address = address
        self._leave_s = leave_s
        self._over = asyncio.Event()
        self._announced = 0.0
        self._answered: Counter[str] = Counter()
        self._begun: Counter[str] = Counter()
        self._versions: Counter[str] = Counter()
        self._pids: Counter[str] = Counter()
        self._failures: list[dict[str, Any]] = []
        self._waits: list[tuple[float, float]] = []

    async def run(self, counts: dict[str, float]) -> None:
        reporting = asyncio.create_task(self._report())
        waiting = asyncio.create_task(self._wait_for_the_end())
        async with asyncio.TaskGroup() as clients:
            for name, count in counts.items():
                if name in BY_THE_CLOCK:
                    clients.create_task(self._by_the_clock(name, clients, count))
                    continue
                for _ in range(int(count)):
                    clients.create_task(self._client(name))
        reporting.cancel()
        waiting.cancel()
        self._say(over=True, waits=self._waits)

    async def _wait_for_the_end(self) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await reader.read()
        self._over.set()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT)
            self._say()

    def _say(self, **more: Any) -> None:
        said = {
            "answered": self._answered,
            "begun": self._begun,
            "versions": self._versions,
            "pids": self._pids,
            "failures": self._failures,
            "announced": self._announced,
        }
        sys.stdout.write(json.dumps({**said, **more}) + "\n")
        sys.stdout.flush()
        self._versions, self._pids, self._failures = Counter(), Counter(), []

    async def _client(self, name: str) -> None:
        kind = KINDS[name]
        connection: Connection | None = None
        while not self._over.is_set():
            connection = await self._ask(name, kind, connection)
            if kind.single:
                break
            if kind.think_s:
                pause = kind.think_s * random.uniform(0.5, 1.5)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), pause)
        if connection:
            connection.close()

    async def _by_the_clock(self, name: str, clients: asyncio.TaskGroup, rate: float) -> None:
        """Opens connections by the clock, and leaves each to itself."""
        due = time.monotonic()
        while not self._over.is_set():
            clients.create_task(self._ask(name, KINDS[name], None))
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(self, name: str, kind: Kind, connection: Connection | None) -> Connection | None:
        """One request; gives back the connection if it may have another one."""
        begun = time.monotonic()
        used = connection is not None
        try:
            async with asyncio.timeout(PATIENCE):
                if connection is not None and connection.has_ended():
                    connection.close()
                    connection = None
                if connection is None:
                    used = False
                    connection = Connection()
                    await connection.open(self._address)
                answer = await self._talk(name, kind, connection)
        except (OSError, TimeoutError, Unexpected, ValueError) as error:
            self._failures.append(
                {
                    "kind": name,
                    "why": f"{type(error).__name__}: {error}",
                    "begun": begun,
                    "ended": time.monotonic(),
                    "port": connection.port if connection else 0,
                    "pid": connection.pid if connection else "",
                    "used": used,
                }
            )
            if connection:
                connection.close()
            await asyncio.sleep(0.05)
            return None
        self._answered[name] += 1
        self._versions[answer.headers["x-version"]] += 1
        self._pids[connection.pid] += 1
        if kind.once:
            self._waits.append((begun, time.monotonic() - begun))
        if answer.closes and name not in BY_THE_CLOCK:
            self._leave()
        if kind.once or answer.closes:
            connection.close()
            return None
        return connection

    def _leave(self) -> None:
        self._announced = self._announced or time.monotonic()
        if self._leave_s is not None:
            asyncio.get_running_loop().call_later(self._leave_s, self._over.set)

    async def _talk(self, name: str, kind: Kind, connection: Connection) -> Answer:
        method = "POST" if kind.upload else "GET"
        lines = [f"{method} {kind.path} HTTP/1.1", "Host: test"]
        if kind.upload:
            lines.append(f"Content-Length: {len(PIECE) * PIECES}")
        if name in BY_THE_CLOCK:
            lines.append("Connection: close")
        await connection.send("\r\n".join([*lines, "", ""]).encode())
        if kind.upload:
            for _ in range(PIECES):
                await connection.send(PIECE)
                await asyncio.sleep(0.02)

        def begun() -> None:
            self._begun[name] += 1

        answer = await connection.answer(begun=begun)
        if not answer.body.endswith(kind.ends_with):
            raise Unexpected(f"{answer.body[-40:]!r} came instead of the end {kind.ends_with!r}")
        return answer


async def main(spec: str) -> None:
    given = json.loads(spec)
    host, port = given["address"]
    await Load((host, port), leave_s=given["leave_s"]).run(given["counts"])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
