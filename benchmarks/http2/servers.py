"""The servers that speak HTTP/2: command lines, cleartext with prior knowledge or over TLS.

Each as in benchmarks/servers.py, and with HTTP/2 switched on where it is not by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.servers import FAST, HERE, KEEP_ALIVE, Order, Server, pounce, python


@dataclass(frozen=True, slots=True)
class Order2(Order):
    """What is asked of a server for one case of HTTP/2."""

    certificate: Path | None = None  # PEM; None: cleartext
    key: Path | None = None  # in PKCS #8, which granian wants

    def tls(self, certificate: str, key: str) -> list[str]:
        """The options of these names, where there is TLS."""
        if self.certificate is None:
            return []
        return [certificate, str(self.certificate), key, str(self.key)]


def certified(order: Order, certificate: str, key: str) -> list[str]:
    return order.tls(certificate, key) if isinstance(order, Order2) else []


def pounce2(order: Order) -> list[str]:
    more = certified(order, "--certfile", "--keyfile")
    return pounce(order, "--no-access-log", "--http2", "h2", *more)


def hypercorn(order: Order) -> list[str]:
    return python(
        "hypercorn",
        order.app,
        *("--bind", f"127.0.0.1:{order.port}", "--workers", "1"),
        *("--worker-class", "uvloop", "--keep-alive", KEEP_ALIVE),
        *("--config", str(HERE / "hypercorn.toml")),
        *certified(order, "--certfile", "--keyfile"),
    )


def granian(order: Order) -> list[str]:
    return python(
        "granian",
        order.app,
        *("--port", str(order.port), "--workers", "1"),
        *("--interface", "asgi", "--loop", "uvloop", "--http", "2", "--no-access-log"),
        *certified(order, "--ssl-certificate", "--ssl-keyfile"),
    )


def gunicorn(order: Order) -> list[str]:
    return python(
        "gunicorn",
        order.app,
        *("--bind", f"127.0.0.1:{order.port}", "--workers", "1"),
        *("--worker-class", "asgi", "--asgi-loop", "uvloop", "--no-control-socket"),
        *("--http-protocols", "h2,h1", "--http2-cleartext", "prior-knowledge"),
        *("--keep-alive", KEEP_ALIVE),
        *certified(order, "--certfile", "--keyfile"),
    )


def uvicorn(order: Order) -> list[str]:
    return python(
        "uvicorn",
        order.app,
        *("--port", str(order.port), "--workers", "1"),
        *("--loop", "uvloop", "--http", "zttp", "--http2", "--no-access-log"),
        *("--timeout-keep-alive", KEEP_ALIVE),
        *certified(order, "--ssl-certfile", "--ssl-keyfile"),
    )


SERVERS: Final = (
    Server("pounce", "pounce", pounce2, ("bengal-pounce", "h2", "hpack", *FAST)),
    Server("hypercorn", "hypercorn", hypercorn, ("hypercorn", "h2", "uvloop")),
    Server("granian", "granian", granian, ("granian", "uvloop")),
    Server("gunicorn", "gunicorn (asgi worker)", gunicorn, ("gunicorn", "h2", "uvloop")),
    Server("uvicorn", "uvicorn (zttp)", uvicorn, ("uvicorn", "zttp", "uvloop")),
)
NAMES: Final = [server.name for server in SERVERS]
