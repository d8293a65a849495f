"""The servers of the WebSocket cases: command lines as in HTTP, and who can do what.

All else is as their users get it: limits, pings, and windows of compression are the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks import servers
from benchmarks.servers import CommandLine, Order, python


@dataclass(frozen=True, slots=True)
class WebSocketServer:
    """One row of every table."""

    name: str
    title: str
    command: CommandLine
    distributions: tuple[str, ...]
    deflates: bool = True  # it agrees to permessage-deflate
    runs_asgi: bool = True
    parses: bool = True  # it reads what it is sent, and so can be proven


def floor(order: Order) -> list[str]:
    return python("benchmarks.websockets.floor", "--port", str(order.port), "--case", order.answer)


def picows(order: Order) -> list[str]:
    return python("benchmarks.websockets.floor", "--port", str(order.port))


def uvicorn(order: Order, backend: str) -> list[str]:
    return servers.uvicorn(order, "--no-access-log", "--ws", backend)


SERVERS: Final = (
    WebSocketServer(
        "floor",
        "floor (uvloop, fixed bytes)",
        floor,
        ("uvloop",),
        deflates=False,
        runs_asgi=False,
        parses=False,
    ),
    WebSocketServer(
        "picows", "picows, no ASGI", picows, ("picows", "uvloop"), deflates=False, runs_asgi=False
    ),
    # websockets: pounce unmasks with a helper in C of that package, where it is installed.
    WebSocketServer(
        "pounce",
        "pounce",
        servers.pounce,
        ("bengal-pounce", "wsproto", "websockets", "httptools", "uvloop"),
    ),
    WebSocketServer(
        "uvicorn",
        "uvicorn (websockets-sansio)",
        lambda order: uvicorn(order, "websockets-sansio"),
        ("uvicorn", "websockets", "httptools", "uvloop"),
    ),
    WebSocketServer(
        "uvicorn-wsproto",
        "uvicorn (wsproto)",
        lambda order: uvicorn(order, "wsproto"),
        ("uvicorn", "wsproto", "httptools", "uvloop"),
    ),
    WebSocketServer("granian", "granian", servers.granian, ("granian", "uvloop"), deflates=False),
    WebSocketServer(
        "gunicorn",
        "gunicorn (asgi worker)",
        servers.gunicorn,
        ("gunicorn", "gunicorn_h1c", "uvloop"),
        deflates=False,
    ),
    WebSocketServer(
        "hypercorn", "hypercorn", servers.hypercorn, ("hypercorn", "wsproto", "h11", "uvloop")
    ),
)
TITLES: Final = {server.name: server.title for server in SERVERS}
NAMES: Final = tuple(TITLES)
