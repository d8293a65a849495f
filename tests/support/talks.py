"""WebSocket clients under way beside a test: some talk, some only listen, some come back.

They run on an event loop in a thread of their own, and note what became of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Final

import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.support.raw import Address
from tests.support.serverlog import PATIENCE, wait_until

AT_ONCE: Final = 50  # handshakes under way at the same time


class Talks:
    """Clients of one server.

    Attributes:
        answered: messages whose echo came.
        asked: messages sent.
        ends: of each WebSocket: when it ended, by time.monotonic(), and the code it was closed
            with; 1006 where it was not.
        returned: when clients that come back were in again.
        refused: handshakes that failed, and why.
    """

    def __init__(self, address: Address) -> None:
        assert isinstance(address, tuple)
        self._url = f"ws://{address[0]}:{address[1]}"
        self._expected = 0
        self._entered_so_far = 0
        self.answered = 0
        self.asked = 0
        self.ends: dict[str, list[tuple[float, int]]] = {}
        self.returned: list[float] = []
        self.refused: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._entry = asyncio.Semaphore(AT_ONCE)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield
        finally:
            self._call(self._cancel())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def talk(self, count: int, *, messages: int, every_s: float) -> None:
        """So many that send a message now and then, hear its echo, and close in the end."""
        for _ in range(count):
            self._spawn(self._talk(messages, every_s))
        self._wait_until_in(count)

    def listen(
        self, count: int, path: str = "/echo", *, come_back: bool = False, every_s: float = 0.0
    ) -> None:
        """So many that say nothing; they come one after the other, or all at once."""
        for number in range(count):
            self._spawn(self._listen(path, come_back=come_back, after_s=number * every_s))
        self._wait_until_in(count)

    def wait_for_ends(self, kind: str, count: int) -> None:
        """Until so many have ended; `kind` is "talk", or the path that was listened to."""
        wait_until(lambda: len(self.ends.get(kind, ())) >= count, f"{count} ends of {kind}")

    def codes(self, kind: str) -> Counter[int]:
        return Counter(code for _, code in self.ends.get(kind, ()))

    async def _talk(self, messages: int, every_s: float) -> None:
        async with self._entered("talk", "/echo") as socket:
            for number in range(messages):
                self.asked += 1
                await socket.send(f"message {number}")
                if await socket.recv() == f"message {number}":
                    self.answered += 1
                await asyncio.sleep(every_s)

    async def _listen(self, path: str, *, come_back: bool, after_s: float) -> None:
        await asyncio.sleep(after_s)
        async with self._entered(path, path) as socket:
            await socket.wait_closed()
        if come_back:
            async with self._entered("back", path) as socket:
                self.returned.append(time.monotonic())
                await socket.wait_closed()

    @contextlib.asynccontextmanager
    async def _entered(self, kind: str, path: str) -> AsyncIterator[ClientConnection]:
        try:
            async with self._entry:
                socket = await connect(
                    self._url + path, ping_interval=None, open_timeout=PATIENCE, proxy=None
                )
        except (OSError, websockets.InvalidHandshake, TimeoutError) as error:
            self.refused.append(f"{kind}: {error!r}")
            raise
        self._entered_so_far += 1
        ends = self.ends.setdefault(kind, [])
        try:
            with contextlib.suppress(websockets.ConnectionClosed):
                yield socket
            await socket.close()
        finally:
            socket.transport.abort()  # for those that are cancelled
            ends.append((time.monotonic(), socket.close_code or 1006))

    def _wait_until_in(self, count: int) -> None:
        self._expected += count

        def all_in() -> bool:
            assert not self.refused, self.refused[:3]
            return self._entered_so_far >= self._expected

        wait_until(all_in, f"{count} more open WebSockets")

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        async def entered() -> None:
            with contextlib.suppress(OSError, websockets.InvalidHandshake, TimeoutError):
                await coroutine

        def start() -> None:
            task = self._loop.create_task(entered())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(start)

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def longest_wave(moments: list[float], window_s: float = 1.0) -> int:
    """The most of them that fall into one window of time."""
    moments = sorted(moments)
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moment - moments[first] > window_s:
            first += 1
        most = max(most, last - first + 1)
    return most
