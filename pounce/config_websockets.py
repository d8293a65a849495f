"""The settings of WebSockets: their limits, deadlines, compression, and how they are seen off."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pounce.config_processes import ProcessSettings
from pounce.settings import Form, setting

WEBSOCKETS: Final = "WebSockets"

ORIGIN: Final = Form(
    lambda text: bool(
        re.fullmatch(r"null|[a-z][a-z0-9+.-]*://[^/?#\s*]+", text, re.ASCII | re.IGNORECASE)
    ),
    "origins such as https://example.com, without a path or *",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketSettings(ProcessSettings):
    """See Config. Slots allow one line of descent only, hence this one."""

    websockets: str = setting(
        "auto",
        group=WEBSOCKETS,
        choices=("auto", "on", "off"),
        help="Serve WebSockets; auto does where wsproto is installed, on demands it.",
    )
    websocket_origins: tuple[str, ...] = setting(
        (),
        metavar="ORIGIN",
        group=WEBSOCKETS,
        form=ORIGIN,
        help="Origins whose pages may open a WebSocket, others get 403; none lets all of them. Who "
        "sends no Origin is no browser, and passes.",
    )
    websocket_max_message: int = setting(
        16 * 1024 * 1024,
        group=WEBSOCKETS,
        unit="bytes",
        least=0,
        zero="no limit",
        help="Longest message from a client, inflated; past it 1009.",
    )
    websocket_max_frame: int = setting(
        16 * 1024 * 1024,
        group=WEBSOCKETS,
        unit="bytes",
        least=0,
        zero="no limit",
        help="Longest frame from a client, as it comes; past it 1009.",
    )
    websocket_max_fragments: int = setting(
        1024,
        group=WEBSOCKETS,
        least=0,
        zero="no limit",
        help="Most frames of one message; past it 1008.",
    )
    websocket_max_rate: int = setting(
        0,
        group=WEBSOCKETS,
        least=0,
        zero="no limit",
        help="Most messages per second of one client, averaged, with as many more at once; past it "
        "1008.",
    )
    websocket_queue: int = setting(
        65536,
        group=WEBSOCKETS,
        unit="bytes",
        least=1,
        help="Messages held for an application that has not asked for them; past it no more is "
        "read of that client.",
    )
    websocket_handshake_timeout: float = setting(
        30.0,
        group=WEBSOCKETS,
        unit="seconds",
        least=0,
        zero="off",
        help="How long an application may take to accept or deny a WebSocket; past it 503.",
    )
    websocket_ping_interval: float = setting(
        20.0,
        group=WEBSOCKETS,
        unit="seconds",
        least=0,
        zero="off",
        help="How long a client may be silent before it is pinged.",
    )
    websocket_ping_timeout: float = setting(
        20.0,
        group=WEBSOCKETS,
        unit="seconds",
        least=0,
        zero="off",
        help="How long a pinged client may stay silent; past it 1011.",
    )
    websocket_idle_close: bool = setting(
        True,
        group=WEBSOCKETS,
        help="Close WebSockets on which nothing came or went for keep_alive_timeout, with 1001. "
        "Answers to pings are something.",
    )
    websocket_max_age: float = setting(
        0.0,
        group=WEBSOCKETS,
        unit="seconds",
        least=0,
        zero="no limit",
        help="Lifetime of a WebSocket, shortened by up to a tenth at random; past it 1001.",
    )
    websocket_close_timeout: float = setting(
        10.0,
        group=WEBSOCKETS,
        unit="seconds",
        least=0.1,
        help="How long a client may take to answer our Close before its connection is cut.",
    )
    websocket_drain: str = setting(
        "linger",
        group=WEBSOCKETS,
        choices=("linger", "close"),
        help="In a drain, linger lets talks go on for half of the time and then closes what is "
        "left, evenly spread; close spreads from the beginning.",
    )
    websocket_deflate: bool = setting(
        True, group=WEBSOCKETS, help="Compress messages where the client offers to."
    )
    websocket_deflate_level: int = setting(
        6, group=WEBSOCKETS, least=1, most=9, help="How hard to compress: 1 is fast, 9 is small."
    )
    websocket_deflate_window: int = setting(
        12,
        group=WEBSOCKETS,
        least=9,
        most=15,
        help="Windows of 2**N bytes for compression, each way. 15 costs up to 300 KiB a WebSocket "
        "while it is busy.",
    )
    websocket_deflate_takeover: bool = setting(
        True,
        group=WEBSOCKETS,
        help="Compress each message with those before as its dictionary; without it, memory is "
        "given back after each.",
    )
    websocket_deflate_smallest: int = setting(
        32,
        group=WEBSOCKETS,
        unit="bytes",
        least=0,
        help="Shorter messages are sent as they are.",
    )
