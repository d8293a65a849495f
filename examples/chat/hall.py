"""The rooms as one worker sees them: wakes its talks when any worker has stored something for them.

Knows the store, and no WebSocket. Nothing that was said is kept here: a talk reads on in the store
from where it is, at the pace of its client.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from chat.store import Guest, Store

log = logging.getLogger("chat")
P = ParamSpec("P")
T = TypeVar("T")

# How long until a message shows up with another worker; its own hears of it at once.
LOOK_S: Final = 0.05
# How long somebody is listed as here whom no worker vouches for: long enough to come back from a
# reload without being missed.
LEASE_S: Final = 5.0


class Room:
    """A room in which somebody of this worker is.

    Attributes:
        news: set, once, by the next thing that happens in it. Take it before you read.
        talks: those of this worker.
    """

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.talks: set[str] = set()

    def ring(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class Hall:
    """All rooms.

    Attributes:
        here: the names in each room, of all workers; another object whenever it changes.
        worker: the name of this process; a number alone may come again.
    """

    def __init__(self) -> None:
        self.here: dict[str, list[str]] = {}
        self.worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._rooms: dict[str, Room] = {}
        self._rung = 0  # up to this message everybody was woken
        self._renewed_at = 0.0
        self._seen_at = 0.0
        self._own_news = asyncio.Event()
        # A commit may wait for that of another worker or for the disk; the loop must not. One
        # thread, since one connection to SQLite is one thread's.
        self._thread = ThreadPoolExecutor(1, "store")
        self._store: Store

    @asynccontextmanager
    async def open(self, path: Path) -> AsyncIterator[None]:
        """As long as the worker serves. Not before a fork: SQLite's locks do not go through it."""
        loop = asyncio.get_running_loop()
        self._store = await loop.run_in_executor(self._thread, Store, path)
        self._rung = await self.ask(Store.newest)
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            await self.ask(Store.close)
            self._thread.shutdown()

    async def ask(
        self, method: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a method of the store returns, called in the thread that may wait for it."""
        call = partial(method, self._store, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    @asynccontextmanager
    async def inside(self, guest: Guest) -> AsyncIterator[Room]:
        """Somebody comes in, stays for the block, and is kept listed in it."""
        room = self._rooms.setdefault(guest.room, Room())
        room.talks.add(guest.talk)
        try:
            await self.ask(Store.enter, guest, until=time.time() + LEASE_S)
            self.look()
            yield room
        finally:
            room.talks.discard(guest.talk)
            if not room.talks:
                del self._rooms[guest.room]

    async def strike(self, guest: Guest) -> None:
        """Somebody is gone for good; who is merely lost stays listed until the lease is over."""
        await self.ask(Store.leave, guest)
        self.look()

    def look(self) -> None:
        """Something was stored by this worker."""
        self._own_news.set()

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_S if self._rooms else None):
                    await self._own_news.wait()
            except TimeoutError:
                pass
            own = self._own_news.is_set()
            self._own_news.clear()
            try:
                await self._tell_of_news(time.time(), own=own)
            except sqlite3.Error:  # a full disk may get room again
                log.exception("cannot follow what others say")

    async def _tell_of_news(self, now: float, *, own: bool) -> None:
        if now - self._renewed_at > LEASE_S / 3:
            talks = [talk for room in self._rooms.values() for talk in room.talks]
            await self.ask(Store.renew, talks, now=now, until=now + LEASE_S)
            self._renewed_at = now
        changed = await self.ask(Store.changed_by_others)
        # A lease that ends changes nothing in the file.
        if not changed and not own and now - self._seen_at < LEASE_S / 5:
            return
        self._seen_at = now
        for name, number in (await self.ask(Store.rooms_after, self._rung)).items():
            self._rung = max(self._rung, number)
            if name in self._rooms:
                self._rooms[name].ring()
        here = await self.ask(Store.here, now)
        if here != self.here:
            self.here = here
            for room in self._rooms.values():
                room.ring()
