"""How many WebSockets of a draining worker are closed when: evenly spread, so that their clients do
not all come back at once. Knows no WebSocket and no clock.

Source: the plan of a drain is in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pounce.worker.wire.close_codes import GOING_AWAY, RESTARTING

# What is left behind the last Close for the peer to answer it, as a part of the whole.
ANSWER_SHARE: Final = 0.1

# By the reason of the drain. Where others serve on, the client had best come again at once.
FAREWELLS: Final[Mapping[str, tuple[int, str]]] = {
    "reload": (RESTARTING, "the server is restarting"),
    "scale": (RESTARTING, "the server is restarting"),
    "recycle": (RESTARTING, "the server is restarting"),
    "interrupt": (GOING_AWAY, "the server is going away"),
    "exit": (GOING_AWAY, "the server is going away"),
    "master gone": (GOING_AWAY, "the server is going away"),
}


class Parting:
    """When the WebSockets of one draining worker are closed.

    Args:
        mode: "linger", the first half of the time is theirs; or "close".
        now, deadline: the drain's beginning and end.
    """

    def __init__(self, mode: str, now: float, deadline: float) -> None:
        window = max(0.0, deadline - now)
        self._from = now + (window / 2 if mode == "linger" else 0.0)
        self._until = deadline - window * ANSWER_SHARE
        self._last = self._from
        self._credit = 0.0

    def is_over(self, now: float) -> bool:
        """All that are still open should be closed now, whatever they are at."""
        return now >= self._until

    def due(self, now: float, left: int) -> int:
        """How many of the `left` ones that nobody was told of should be closed now."""
        if now < self._from or not left:
            return 0
        if now >= self._until:
            return left
        # Of n that are left, so many as keep the pace at which the last goes when time is up.
        self._credit += left * (now - self._last) / (self._until - self._last)
        self._last = now
        number = min(left, int(self._credit))
        self._credit -= number
        return number
