"""The cases of HTTP/2 as a table: what is asked, by which load, over TLS or not, of whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.apps import plain, streams
from benchmarks.http2.loads import Echo, Large, Load, Small
from benchmarks.http2.servers import NAMES
from benchmarks.loads import Exchange

APP: Final = "benchmarks.apps.streams:app"


@dataclass(frozen=True, slots=True)
class Case:
    """One table of the page."""

    name: str
    title: str
    load: Load
    tls: bool = False
    servers: tuple[str, ...] = tuple(NAMES)


GREETING: Final = Exchange("/13", plain.GREETING)
CASES: Final = (
    Case("h2_get13", "GET, 13 bytes", Small(GREETING)),
    Case("h2_get13_tls", "GET, 13 bytes, over TLS", Small(GREETING), tls=True),
    Case("h2_get10k", "GET, 10 KiB", Small(Exchange("/10k", plain.PAGE))),
    Case(
        "h2_download",
        "Download, 100 MiB",
        Large(Exchange("/download", b"p" * streams.LARGE), upload=False),
    ),
    Case(
        "h2_upload",
        "Upload, 100 MiB",
        Large(Exchange("/upload", b"", "POST", streams.LARGE), upload=True),
    ),
    # The others have no WebSockets over HTTP/2.
    Case(
        "h2_websocket",
        "WebSockets, 13 bytes echoed",
        Echo(b"/"),
        servers=("pounce", "hypercorn"),
    ),
)
