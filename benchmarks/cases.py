"""The cases as a table: what is asked, of which application, by which load, of which servers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.apps import plain
from benchmarks.loads import Exchange, Idle, Load, Resident, Wrk
from benchmarks.servers import SERVERS, Order, Server

PLAIN: Final = "benchmarks.apps.plain:app"
FASTAPI: Final = "benchmarks.apps.fastapi_json:app"


@dataclass(frozen=True, slots=True)
class Case:
    """One table of the report."""

    name: str
    title: str
    load: Load
    app: str = PLAIN
    floor: str = ""  # the floor's fixed answer; "" if it has none and stays out
    pipelined: bool = False
    access_logs: bool = False  # with the servers whose access log is on, and their own pairs only

    def order(self, port: int, log: Path) -> Order:
        return Order(
            self.app,
            port,
            log,
            answer=self.floor,
            pipelined=self.pipelined,
            body=self.load.exchange.body,
        )

    def servers(self, wanted: Collection[str]) -> list[Server]:
        """Those that take part, of the wanted ones."""
        paired = {server.logs_of for server in SERVERS}
        if self.access_logs:  # each pair side by side: their ratio is what the case is for
            return [
                server
                for plain_one in SERVERS
                if plain_one.name in paired & set(wanted)
                for server in SERVERS
                if plain_one.name in (server.name, server.logs_of)
            ]
        return [
            server
            for server in SERVERS
            if server.name in wanted and (server.name != "floor" or self.floor)
        ]


GREETING = Exchange("/13", plain.GREETING)
CASES: Final = (
    Case("get13", "GET, 13 bytes", Wrk(GREETING), floor="greeting"),
    Case("browser", "GET, a browser's changing fields", Wrk(GREETING, different=4096)),
    Case("get10k", "GET, 10 KiB", Wrk(Exchange("/10k", plain.PAGE)), floor="page"),
    Case("post1k", "POST, 1 KiB echoed", Wrk(Exchange("/echo", b"x" * 1024, "POST", 1024))),
    Case("upload64k", "POST, 64 KiB taken", Wrk(Exchange("/upload", b"65536", "POST", 65536))),
    Case("stream10", "GET, ten chunks", Wrk(Exchange("/stream", plain.CHUNK * plain.CHUNKS))),
    Case(
        "pipelined",
        "GET, 13 bytes, 16 pipelined",
        Wrk(GREETING, connections=16, depth=16),
        floor="greeting",
        pipelined=True,
    ),
    Case(
        "fastapi",
        "FastAPI, JSON",
        Wrk(Exchange("/json", b'{"message":"Hello, World!"}')),
        app=FASTAPI,
    ),
    Case("idle_memory", "Memory of an idle connection", Idle(GREETING)),
    Case("worker_pss", "Memory of a worker", Resident(GREETING)),
    Case("access_log", "GET, 13 bytes, access log on and off", Wrk(GREETING), access_logs=True),
)
