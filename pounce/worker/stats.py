"""The counters that one worker keeps about itself and sends with each heartbeat."""

from __future__ import annotations

from pounce.worker.websocket_counts import WebSocketCounts


class Stats:
    """Counts since the worker was forked, but `open`, which is of this moment."""

    __slots__ = ("connections", "open", "rejected", "requests", "websockets")

    def __init__(self) -> None:
        self.connections = 0  # accepted
        self.open = 0  # connections
        self.rejected = 0  # connections over max_connections
        self.requests = 0  # answered, by an application or by an error of ours
        self.websockets = WebSocketCounts()
