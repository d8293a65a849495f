"""The servers: their command lines, and which options make each fast.

Every server runs the same application, on uvloop and its fastest HTTP/1.1 reader where it has one,
with the access log off and idle connections kept; all else is as its users get it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

HERE: Final = Path(__file__).parent
KEEP_ALIVE: Final = "300"  # seconds; longer than the case with idle connections takes


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of a server for one case."""

    app: str
    port: int
    log: Path  # where the access log goes, if the server writes one
    answer: str = ""  # which fixed answer the floor writes; "" if it cannot take part
    pipelined: bool = False
    body: int = 0  # bytes of each request's body
    workers: int = 1


CommandLine: TypeAlias = Callable[[Order], list[str]]


@dataclass(frozen=True, slots=True)
class Server:
    """One row of every table."""

    name: str
    title: str
    command: CommandLine
    distributions: tuple[str, ...]  # whose versions the report names
    logs_of: str = ""  # the server this is with the access log on; "" if it is off


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def pounce(order: Order, *more: str, http: str = "httptools") -> list[str]:
    return python(
        "pounce",
        order.app,
        *("--port", str(order.port), "--workers", str(order.workers)),
        *("--loop", "uvloop", "--http", http),
        *("--keep-alive-timeout", KEEP_ALIVE),
        *(more or ("--no-access-log",)),
    )


def uvicorn(order: Order, *more: str, http: str = "httptools") -> list[str]:
    return python(
        "uvicorn",
        order.app,
        *("--port", str(order.port), "--workers", str(order.workers)),
        *("--loop", "uvloop", "--http", http),
        *("--timeout-keep-alive", KEEP_ALIVE),
        *(more or ("--no-access-log",)),
    )


def granian(order: Order, *more: str) -> list[str]:
    return python(
        "granian",
        order.app,
        *("--port", str(order.port), "--workers", str(order.workers)),
        *("--interface", "asgi", "--loop", "uvloop", "--http", "1"),
        # Its limit of connections is backlog / workers, 1,024: too few for the idle ones.
        *("--backlog", "16384", "--http1-header-read-timeout", "60000"),
        *(more or ("--no-access-log",)),
    )


def gunicorn(order: Order, *more: str) -> list[str]:
    # Its C parser, gunicorn_h1c 0.6.10, drops connections in the middle of large bodies.
    parser = "python" if order.body > 16 * 1024 else "fast"
    return python(
        "gunicorn",
        order.app,
        *("--bind", f"127.0.0.1:{order.port}", "--workers", str(order.workers)),
        *("--worker-class", "asgi", "--asgi-loop", "uvloop", "--http-parser", parser),
        *("--keep-alive", KEEP_ALIVE, "--worker-connections", "20000", "--no-control-socket"),
        *more,
    )


def hypercorn(order: Order) -> list[str]:
    return python(
        "hypercorn",
        order.app,
        *("--bind", f"127.0.0.1:{order.port}", "--workers", str(order.workers)),
        *("--worker-class", "uvloop", "--keep-alive", KEEP_ALIVE),
        # It closes a connection after 1,000 requests, which no flag but only its file can lift.
        *("--config", str(HERE / "hypercorn.toml")),
    )


def floor(order: Order) -> list[str]:
    return python(
        "benchmarks.floor",
        *("--port", str(order.port), "--answer", order.answer),
        *(("--pipelined",) if order.pipelined else ()),
    )


FAST = ("uvloop", "httptools")
SERVERS: Final = (
    Server("floor", "floor (uvloop, fixed bytes)", floor, ("uvloop",)),
    Server("pounce", "pounce", pounce, ("bengal-pounce", *FAST)),
    Server(
        "pounce-h11",
        "pounce (h11)",
        lambda order: pounce(order, http="h11"),
        ("bengal-pounce", "h11", "uvloop"),
    ),
    Server("uvicorn", "uvicorn", uvicorn, ("uvicorn", *FAST)),
    Server(
        "uvicorn-h11",
        "uvicorn (h11)",
        lambda order: uvicorn(order, http="h11"),
        ("uvicorn", "h11", "uvloop"),
    ),
    Server("granian", "granian", granian, ("granian", "uvloop")),
    Server("gunicorn", "gunicorn (asgi worker)", gunicorn, ("gunicorn", "gunicorn_h1c", "uvloop")),
    Server("hypercorn", "hypercorn", hypercorn, ("hypercorn", "h11", "uvloop")),
    Server(
        "pounce-log",
        "pounce, access log on",
        lambda order: pounce(order, "--access-log", "--access-log-file", str(order.log)),
        (),
        logs_of="pounce",
    ),
    Server(
        "uvicorn-log",
        "uvicorn, access log on",
        lambda order: uvicorn(order, "--access-log"),  # to standard output, which is a file here
        (),
        logs_of="uvicorn",
    ),
    Server(
        "granian-log",
        "granian, access log on",
        lambda order: granian(order, "--access-log"),
        (),
        logs_of="granian",
    ),
    Server(
        "gunicorn-log",
        "gunicorn, access log on",
        lambda order: gunicorn(order, "--access-logfile", str(order.log)),
        (),
        logs_of="gunicorn",
    ),
)
TITLES: Final = {server.name: server.title for server in SERVERS}
NAMES: Final = tuple(server.name for server in SERVERS if not server.logs_of)
