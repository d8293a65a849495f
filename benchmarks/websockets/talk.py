"""The load: many WebSockets in one thread, which only counts the bytes that come back.

Python is fast enough for it on a core of its own: frames are made beforehand, and what is left to
do for a message are two system calls.
"""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.running import BenchmarkError
from benchmarks.websockets.sockets import PATIENCE_S

BUFFER: Final = 1 << 18
READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT


class Talk:
    """One WebSocket with at most one write under way.

    Attributes:
        left: bytes of the answer that are still to come.
    """

    __slots__ = ("_client", "_fd", "_poller", "_rest", "_send", "left", "read")

    def __init__(self, client: socket.socket, poller: select.epoll) -> None:
        client.setblocking(False)
        self._client = client
        self._fd = client.fileno()
        self._poller = poller
        self._rest = memoryview(b"")
        self._send = client.send
        self.read = client.recv_into
        self.left = 0
        poller.register(self._fd, READABLE)

    def say(self, frame: bytes) -> None:
        """Sends it all, now or as soon as there is room."""
        if self._rest:
            self._rest = memoryview(bytes(self._rest) + frame)
            return
        sent = self._try(frame)
        if sent < len(frame):
            self._rest = memoryview(frame)[sent:]
            self._poller.modify(self._fd, READABLE | WRITABLE)

    def go_on(self) -> None:
        """There is room again."""
        self._rest = self._rest[self._try(self._rest) :]
        if not self._rest:
            self._poller.modify(self._fd, READABLE)

    def _try(self, data: bytes | memoryview) -> int:
        try:
            return self._send(data)
        except BlockingIOError:
            return 0


class Crowd:
    """All WebSockets of one load."""

    def __init__(self, clients: Sequence[socket.socket]) -> None:
        self._poller = select.epoll()
        self._talks = {client.fileno(): Talk(client, self._poller) for client in clients}
        self._buffer = bytearray(BUFFER)

    def close(self) -> None:
        self._poller.close()

    def echo(self, frames: Sequence[bytes], answer: int, *, depth: int, seconds: float) -> int:
        """Each WebSocket sends, waits for the echo, and sends again.

        Args:
            answer: bytes of each echo; 0 to read them off its second byte.
            depth: messages in one write.

        Returns:
            How many were echoed.
        """
        writes = writes_of(frames, depth)
        wanted = answer * depth
        buffer, talks, poll = self._buffer, self._talks, self._poller.poll
        until = time.monotonic() + seconds
        for talk in talks.values():
            talk.left = wanted
            talk.say(next(writes))
        echoed, waiting = 0, len(talks)
        while waiting:
            events = poll(PATIENCE_S)
            going = time.monotonic() < until
            if not events:
                raise BenchmarkError(f"{waiting} messages were not echoed")
            for fd, event in events:
                talk = talks[fd]
                if event & WRITABLE:
                    talk.go_on()
                    if not event & READABLE:
                        continue
                size = talk.read(buffer)
                left = (talk.left or 2 + buffer[1]) - size
                if left > 0 and size > 1:
                    talk.left = left
                    continue
                if left or size < 2:
                    raise BenchmarkError(f"{size} bytes came where {left + size} were to come")
                echoed += depth
                talk.left = wanted
                if going:
                    talk.say(next(writes))
                else:
                    waiting -= 1
        return echoed

    def broadcast(self, frames: Sequence[bytes], answer: int, *, seconds: float) -> list[float]:
        """One of them says something, and when all have heard it, something else.

        Returns:
            For each message how long it took to reach the last, in seconds.
        """
        writes = itertools.cycle(frames)
        speaker = next(iter(self._talks.values()))
        reached: list[float] = []
        until = time.monotonic() + seconds
        while (begun := time.monotonic()) < until:
            speaker.say(next(writes))
            self._hear(answer)
            reached.append(time.monotonic() - begun)
        return reached

    def _hear(self, answer: int) -> None:
        """Until each has got an answer."""
        buffer, talks = self._buffer, self._talks
        for talk in talks.values():
            talk.left = answer
        waiting = len(talks)
        while waiting:
            events = self._poller.poll(PATIENCE_S)
            if not events:
                raise BenchmarkError(f"a message did not reach {waiting} of {len(talks)} members")
            for fd, _ in events:
                talk = talks[fd]
                size = talk.read(buffer)
                talk.left -= size
                if not size or talk.left < 0:
                    raise BenchmarkError("a member of the room heard too much or was cut off")
                if not talk.left:
                    waiting -= 1

    def paced(
        self, frames: Sequence[bytes], answer: int, *, rate: float, seconds: float
    ) -> list[float]:
        """Messages at fixed times, in turn on each WebSocket, whether or not others are answered.

        Returns:
            Seconds from when each was due until its echo was there. A client that is late counts
            as the server's slowness, so that a pause is seen by all who fell into it.
        """
        writes = itertools.cycle(frames)
        talks = [*self._talks.items()]
        due: dict[int, deque[float]] = {fd: deque() for fd in self._talks}
        for _, talk in talks:
            talk.left = answer
        took: list[float] = []
        begun = time.monotonic()
        number = round(rate * seconds)
        sent = 0
        while len(took) < number:
            now = time.monotonic()
            while sent < number and begun + sent / rate <= now:
                fd, talk = talks[sent % len(talks)]
                due[fd].append(begun + sent / rate)
                talk.say(next(writes))
                sent += 1
            if now > begun + seconds + PATIENCE_S:
                raise BenchmarkError(f"{number - len(took)} messages were not echoed")
            # Turns without waiting: whoever sleeps adds its own waking to what it measures.
            took += self._answers(self._poller.poll(0), due, answer)
        return took

    def _answers(
        self, events: Sequence[tuple[int, int]], due: dict[int, deque[float]], answer: int
    ) -> Iterator[float]:
        for fd, _ in events:
            talk = self._talks[fd]
            size = talk.read(self._buffer)
            if not size:
                raise BenchmarkError("the server closed a WebSocket under load")
            talk.left -= size
            now = time.monotonic()
            while talk.left <= 0:
                yield now - due[fd].popleft()
                talk.left += answer


def writes_of(frames: Sequence[bytes], depth: int) -> Iterator[bytes]:
    """Endless writes of `depth` frames each."""
    if depth == 1:
        return itertools.cycle(frames)
    turns = itertools.cycle(frames)
    return itertools.cycle([b"".join(itertools.islice(turns, depth)) for _ in frames])


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
