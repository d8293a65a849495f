"""Shared memory in which each worker says how many connections it holds, without a lock.

The master makes it before it forks. One record has one writer, so no lock is needed: a worker adds
its own connection first and then sums all records, so the limit is never passed, though two workers
that count at the same instant may both refuse the last place.
"""

from __future__ import annotations

import mmap
from typing import Final

RECORD_SIZE: Final = 8  # bytes: one native unsigned 64-bit integer, written in one store


class Scoreboard:
    """Connection counts of up to `records` worker processes, shared by fork."""

    def __init__(self, records: int) -> None:
        self.records = records
        self._memory = mmap.mmap(-1, records * RECORD_SIZE)
        self._counts = memoryview(self._memory).cast("Q")

    def set_connections(self, record: int, count: int) -> None:
        """Called by the one worker that owns `record`."""
        self._counts[record] = count

    def connections(self, record: int) -> int:
        return self._counts[record]

    def total_connections(self) -> int:
        """Open connections of all workers, draining ones included."""
        return sum(self._counts)

    def clear(self, record: int) -> None:
        """Called by the master when the process that owned `record` is gone."""
        self._counts[record] = 0
