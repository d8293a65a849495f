"""The counters that one worker keeps about itself and sends with each heartbeat."""

from __future__ import annotations


class Stats:
    """Counts since the worker was forked, but `open` and `in_flight`, which are of this moment."""

    __slots__ = ("connections", "in_flight", "open", "rejected", "requests")

    def __init__(self) -> None:
        self.connections = 0  # accepted
        self.open = 0  # connections
        self.rejected = 0  # connections over max_connections
        self.requests = 0  # answered, by an application or by an error of ours
        self.in_flight = 0  # requests whose application has not returned
