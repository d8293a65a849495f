"""What a worker accepts on: its own listeners, and those of slots it looks after meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Final

from pounce.tcp import queue_depth
from pounce.worker.acceptor import Acceptor

# A listener that is to be closed for good is served until nobody waits, but not for ever.
EMPTY_TIMEOUT: Final = 2.0  # seconds
EMPTY_TICK: Final = 0.01


class Door:
    """Opens and closes one step after the other, in the order in which it was asked to.

    Args:
        own: descriptors of the worker's own listeners, which shut() closes.
        accept_on: makes an acceptor for some listeners.
    """

    def __init__(self, own: Sequence[int], accept_on: Callable[[Sequence[int]], Acceptor]) -> None:
        self._own = own
        self._accept_on = accept_on
        self._acceptor = accept_on(own)
        self._adopted: dict[int, tuple[Acceptor, Sequence[int]]] = {}
        self._turn = asyncio.Lock()
        self._shut = False

    async def open(self) -> None:
        """Accepts on the worker's own listeners.

        Raises:
            OSError: it cannot listen.
        """
        async with self._turn:
            if not self._shut:
                await self._acceptor.start()

    async def pause(self) -> None:
        """Accepts nothing until open() is called again."""
        async with self._turn:
            await self._stop()

    async def shut(self, *, for_good: bool = False) -> None:
        """Accepts nothing any more.

        Args:
            for_good: the listeners will be closed by who owns them, and with them whoever waits
                there: those are let in first.
        """
        async with self._turn:
            self._shut = True
            if for_good:
                deadline = asyncio.get_running_loop().time() + EMPTY_TIMEOUT
                while self._somebody_waits() and asyncio.get_running_loop().time() < deadline:
                    await asyncio.sleep(EMPTY_TICK)
            await self._stop()
            # The kernel goes on to give connections to a listener as long as anybody has it open,
            # and this process may have long-lived clients to wait for.
            _close(self._own)
            self._own = ()

    async def adopt(self, slot: int, listeners: Sequence[int]) -> None:
        """Accepts on the listeners of another slot too; the descriptors are this object's now."""
        async with self._turn:
            if not self._shut and slot not in self._adopted:
                acceptor = self._accept_on(listeners)
                self._adopted[slot] = acceptor, listeners
                await acceptor.start()
                return
        _close(listeners)

    async def release(self, slot: int) -> None:
        """End of adopt()."""
        async with self._turn:
            await self._let_go(slot)

    async def _stop(self) -> None:
        await self._acceptor.stop()
        for slot in [*self._adopted]:
            await self._let_go(slot)

    async def _let_go(self, slot: int) -> None:
        if found := self._adopted.pop(slot, None):
            acceptor, listeners = found
            await acceptor.stop()
            _close(listeners)

    def _somebody_waits(self) -> bool:
        for descriptor in self._own:
            with socket.socket(fileno=os.dup(descriptor)) as listener:
                if queue_depth(listener):
                    return True
        return False


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
