"""Messages that came for an application and that it has not asked for yet.

Knows no protocol; who fills it stops when it says so.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pounce.asgi import Message

# What a queued message costs beside its payload, so that empty ones are limited as well.
MESSAGE_COST: Final = 256  # bytes


class Inbox:
    """A queue of ``websocket.receive`` messages.

    Args:
        limit: bytes held, past which it is full. It is so until half of that was taken.

    Attributes:
        full: nothing more should be put in. Whoever puts in or takes out looks.
    """

    __slots__ = ("_limit", "_loop", "_messages", "_waiters", "_weight", "full")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: list[Message] = []  # a deque is 600 bytes, and few wait at a time
        self._weight = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.full = False

    def put(self, message: Message, size: int) -> bool:
        """True if it is full now.

        Args:
            size: of the payload, in bytes or letters.
        """
        self._messages.append(message)
        self._weight += size + MESSAGE_COST
        if self._weight > self._limit:
            self.full = True
        if self._waiters:
            self.wake()
        return self.full

    def take(self) -> Message | None:
        """The oldest; None if there is none."""
        if not self._messages:
            return None
        message = self._messages.pop(0)
        if self._messages:
            text = message.get("text")
            self._weight -= len(message["bytes"] if text is None else text) + MESSAGE_COST
        else:
            self._weight = 0
        if self.full and self._weight <= self._limit // 2:
            self.full = False
        return message

    @property
    def awaited(self) -> bool:
        """It is empty, and somebody waits for a message."""
        if not self._waiters or self._messages:
            return False
        return not all(waiter.done() for waiter in self._waiters)

    def clear(self) -> None:
        """Nobody will ask for them."""
        self._messages.clear()
        self._weight = 0
        self.full = False

    def wake(self) -> None:
        """Whoever waits should look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def wait(self) -> asyncio.Future[None]:
        """Done with put() or wake()."""
        loop = self._loop
        if loop is None:  # asked for once: it costs a system call
            loop = self._loop = asyncio.get_running_loop()
        waiters = self._waiters
        if waiters:  # who was cancelled in the meantime waits no more
            waiters[:] = [waiter for waiter in waiters if not waiter.done()]
        waiter = loop.create_future()
        waiters.append(waiter)
        return waiter
