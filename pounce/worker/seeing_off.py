"""Sees the WebSockets of a draining worker off: who has been silent longest goes first.

How many at a time is decided in websocket_parting.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from pounce.worker.websocket_parting import FAREWELLS, Parting

if TYPE_CHECKING:  # needs wsproto, which a worker without WebSockets has not
    from pounce.worker.websocket_tunnel import WebSocketTunnel

DEFAULT: Final = FAREWELLS["exit"]
# Somebody at a terminal waits, and no user of theirs would be spared anything.
PROMPT_S: Final = 1.0


class SeeingOff:
    """The WebSockets of one worker, once it drains.

    Args:
        websockets: those whose end has not come; shrinks by itself, and may grow by some that were
            asked for on old connections.
        mode: the setting websocket_drain; or "prompt", all of them within PROMPT_S, as always when
            the server is interrupted (Ctrl-C).
    """

    def __init__(self, websockets: Collection[WebSocketTunnel], mode: str) -> None:
        self._websockets = websockets
        self._mode = mode
        self._parting: Parting | None = None
        self._farewell = DEFAULT
        self._queue: deque[WebSocketTunnel] = deque()
        self._told: set[WebSocketTunnel] = set()

    def begin(self, reason: str, now: float, deadline: float) -> None:
        """The drain has begun, or its time was shortened."""
        self._farewell = FAREWELLS.get(reason, DEFAULT)
        if self._mode == "prompt" or reason == "interrupt":
            self._parting = Parting("close", now, min(deadline, now + PROMPT_S))
        else:
            self._parting = Parting(self._mode, now, deadline)

    def go_on(self, now: float) -> None:
        """Tells those whose turn it is. Best called often."""
        parting = self._parting
        if parting is None:
            return
        if parting.is_over(now):
            for websocket in list(self._websockets):
                websocket.dismiss(*self._farewell)  # whose handshake is not finished
                websocket.close(*self._farewell)
            return
        self._told &= set(self._websockets)
        left = len(self._websockets) - len(self._told)
        for _ in range(parting.due(now, left)):
            self._next().dismiss(*self._farewell)

    def _next(self) -> WebSocketTunnel:
        while True:
            if not self._queue:
                left = set(self._websockets) - self._told
                self._queue.extend(sorted(left, key=lambda each: each.alive_at))
            websocket = self._queue.popleft()
            if websocket in self._websockets and websocket not in self._told:
                self._told.add(websocket)
                return websocket
