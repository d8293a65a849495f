"""What a worker tells its master of itself, again and again, and how often.

Knows what is counted, and neither what the master makes of it nor what the worker is told to do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

from pounce import ipc
from pounce.worker.service import Service

IDLE_BEAT: Final = 1.0  # seconds between two heartbeats while nothing comes
PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


class Heartbeats:
    """The heartbeats of one worker: more often while there is work, when a stall would be noticed.

    An idle WebSocket is no work: with thousands that may say nothing for hours, a worker rests.
    """

    def __init__(self, service: Service, say: Callable[[ipc.Heartbeat], None]) -> None:
        self._service = service
        self._say = say
        self._timer: asyncio.TimerHandle | None = None
        self._done: tuple[int, int, ipc.WebSockets] = 0, 0, ipc.WebSockets()

    def beat(self) -> None:
        """Says one, and the next one in time.

        The first client after a pause brings it forward: should the worker stall on him, the master
        has just been promised the next one soon.
        """
        if self._timer is not None:
            self._timer.cancel()
        service = self._service
        stats = service.stats
        in_flight = len(service.running) - stats.websockets.running
        websockets = stats.websockets.look(service.websockets, service.loop.time())
        done = stats.connections, stats.requests, websockets
        busy = done != self._done or in_flight > 0
        self._done = done
        service.wake = None if busy else self.beat
        next_s = ipc.BUSY_BEAT_S if busy else IDLE_BEAT
        self._timer = service.loop.call_later(next_s, self.beat)
        self._say(self._heartbeat(next_s, in_flight, websockets))

    def end(self) -> None:
        """Says the last one: what was counted since the one before would be lost."""
        service = self._service
        service.wake = None
        if self._timer is not None:
            self._timer.cancel()
        counts = service.stats.websockets
        websockets = counts.look(service.websockets, float("inf"))
        in_flight = len(service.running) - counts.running
        self._say(self._heartbeat(IDLE_BEAT, in_flight, websockets))

    def _heartbeat(
        self, next_s: float, in_flight: int, websockets: ipc.WebSockets
    ) -> ipc.Heartbeat:
        stats = self._service.stats
        return ipc.Heartbeat(
            next_s,
            stats.open,
            stats.connections,
            stats.requests,
            in_flight,
            resident_memory(),
            websockets,
        )


def resident_memory() -> int:
    """Bytes of this process in memory, what it shares included; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * PAGE_SIZE
    except (OSError, ValueError, IndexError):
        return 0
