"""What an application sees of a drain: ``scope["extensions"]["pounce.drain"]``.

A stream that would go on for ever can say good-bye and end, while send() still works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from time import monotonic
from typing import Any


class DrainNotice:
    """Told once per worker that no new connections are accepted and open ones should end.

    ``await notice`` (or ``await notice.wait()``) returns when the drain begins; it may be awaited
    by any number of tasks, and cancelled.

    Attributes:
        reason: "" until then; "exit", "interrupt", "reload", "scale", "recycle" or "master gone".
        deadline: on time.monotonic(); what is open then is cut. None until the drain begins.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.deadline: float | None = None
        self._begun = asyncio.Event()

    @property
    def draining(self) -> bool:
        return self.deadline is not None

    @property
    def remaining(self) -> float | None:
        """Seconds until what is open is cut; None while nothing drains."""
        return None if self.deadline is None else max(0.0, self.deadline - monotonic())

    def begin(self, reason: str, within_s: float) -> None:
        """The server's to call. A second call may only bring the deadline nearer."""
        deadline = monotonic() + within_s
        if self.deadline is None or deadline < self.deadline:
            self.deadline = deadline
        self.reason = self.reason or reason
        self._begun.set()

    async def wait(self) -> None:
        await self._begun.wait()

    def __await__(self) -> Generator[Any, None, None]:
        return self.wait().__await__()
