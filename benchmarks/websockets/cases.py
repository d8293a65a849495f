"""The cases as a table: what is sent, by which load, and who takes part."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.servers import Order
from benchmarks.websockets.frames import binaries, texts
from benchmarks.websockets.loads import Broadcast, Echo, Held, Load, Paced
from benchmarks.websockets.servers import SERVERS, WebSocketServer

APP: Final = "benchmarks.apps.websocket:app"


@dataclass(frozen=True, slots=True)
class Case:
    """One table of the report."""

    name: str
    title: str
    load: Load
    fixed: bool = False  # the floor takes part: one message comes in one read or is all there is
    room: bool = False  # only an application can do it
    once: bool = False  # in the first round only: it takes long, and hardly varies

    def order(self, port: int, log: Path) -> Order:
        return Order(APP, port, log, answer=self.name if self.fixed else "")

    def servers(self, wanted: Collection[str]) -> list[WebSocketServer]:
        """Those that take part, of the wanted ones."""
        return [server for server in SERVERS if server.name in wanted and self._takes(server)]

    def _takes(self, server: WebSocketServer) -> bool:
        if self.load.messages.deflate and not server.deflates:
            return False
        if self.room and not server.runs_asgi:
            return False
        return server.parses or self.fixed


SHORT: Final = texts(64)
CASES: Final = (
    Case("echo64", "64 B text", Echo(SHORT), fixed=True),
    Case("echo64x16", "64 B text, 16 in one write", Echo(SHORT, depth=16)),
    Case("echo16k", "16 KiB binary", Echo(binaries(16 * 1024, different=16)), fixed=True),
    Case("echo1m", "1 MiB binary", Echo(binaries(1024 * 1024, different=2), sockets=8), fixed=True),
    Case("deflate64", "64 B text, compressed", Echo(texts(64, deflate=True))),
    Case("broadcast", "64 B text to 1,000 sockets", Broadcast(SHORT), room=True),
    Case("latency", "64 B text at half of the slowest server's load", Paced(SHORT), fixed=True),
    Case("idle", "Memory of an idle WebSocket", Held(SHORT), once=True),
    Case(
        "idle_deflate",
        "Memory of an idle WebSocket with compression",
        Held(texts(64, deflate=True)),
        once=True,
    ),
)
