"""When a crew has been met, exchanged or made whole again, by who answers new connections; pure.

The same for every server: nothing counts but what clients see.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

# Old workers that are silent for so long are taken to have been exchanged. One that answers later
# all the same moves the end of the exchange to that answer.
QUIET_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Answer:
    """To one new connection; times are of time.monotonic(), which all processes share."""

    asked_at: float
    at: float
    pid: int  # 0: refused, reset, or no proper answer

    @classmethod
    def parse(cls, line: str) -> Answer:
        asked_at, at, pid = line.split()
        return cls(float(asked_at), float(at), int(pid))


@dataclass(slots=True)
class Meeting:
    """Who is there: over when as many workers as there must be have answered."""

    size: int
    since: float  # connections opened earlier do not count
    pids: set[int] = field(default_factory=set)

    def hear(self, answer: Answer) -> bool:
        """True when that was the last one."""
        if answer.pid and answer.asked_at >= self.since:
            self.pids.add(answer.pid)
        return len(self.pids) >= self.size


@dataclass(slots=True)
class Exchange:
    """All workers for new ones: over when each new one has answered and no old one does any more.

    Attributes:
        old: who answered before.
        failed: connections that got no answer, refused ones among them.
    """

    old: Collection[int]
    size: int
    failed: int = 0
    _last_old_at: float = 0.0
    _new: dict[int, float] = field(default_factory=dict)  # first answer of each

    def hear(self, answer: Answer) -> bool:
        """True when it is certain that it is over."""
        if not answer.pid:
            self.failed += 1
        elif answer.pid in self.old:
            self._last_old_at = answer.at
        else:
            self._new.setdefault(answer.pid, answer.at)
        return self.over_at is not None and answer.at >= self.over_at + QUIET_S

    @property
    def over_at(self) -> float | None:
        if len(self._new) < self.size:
            return None
        return max(self._last_old_at, sorted(self._new.values())[self.size - 1])

    @property
    def pids(self) -> set[int]:
        return {*self._new}


@dataclass(slots=True)
class Replacement:
    """One worker for a new one: over at the first answer of a process that was not there before."""

    known: Collection[int]
    failed: int = 0
    over_at: float | None = None
    pid: int = 0

    def hear(self, answer: Answer) -> bool:
        if not answer.pid:
            self.failed += 1
        elif answer.pid not in self.known:
            self.pid, self.over_at = answer.pid, answer.at
            return True
        return False
