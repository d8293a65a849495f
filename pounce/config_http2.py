"""The settings of HTTP/2: its engine, windows, and the limits on what only wears a server out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pounce.config_websockets import WebSocketSettings
from pounce.settings import setting

HTTP2: Final = "HTTP/2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Settings(WebSocketSettings):
    """See Config. Slots allow one line of descent only, hence this one."""

    http2: str = setting(
        "auto",
        group=HTTP2,
        choices=("auto", "h2", "off"),
        help="Speak HTTP/2, by the library h2; auto does where it is installed, h2 demands it.",
    )
    http2_max_streams: int = setting(
        100,
        group=HTTP2,
        least=1,
        most=2**31 - 1,
        help="Requests and WebSockets at once on one connection; those past it are refused, to be "
        "tried again.",
    )
    http2_stream_window: int = setting(
        256 * 1024,
        group=HTTP2,
        unit="bytes",
        least=1024,
        most=2**31 - 1,
        help="What a client may send of one request before the application takes it.",
    )
    http2_connection_window: int = setting(
        1024 * 1024,
        group=HTTP2,
        unit="bytes",
        least=65535,
        most=2**31 - 1,
        help="The same of all requests of one connection together.",
    )
    http2_max_resets: int = setting(
        200,
        group=HTTP2,
        least=1,
        help="Most streams of one connection that may be reset in a burst, whoever does it; past "
        "it the connection is closed with ENHANCE_YOUR_CALM.",
    )
    http2_reset_rate: int = setting(
        33, group=HTTP2, least=0, help="How many more of them each second allows."
    )
    http2_max_glitches: int = setting(
        1000,
        group=HTTP2,
        least=1,
        help="Most frames in a burst that get no request on: PING, SETTINGS, PRIORITY, empty DATA, "
        "WINDOW_UPDATE without need, unknown ones; past it as with resets.",
    )
    http2_glitch_rate: int = setting(
        330, group=HTTP2, least=0, help="How many more of them each second allows."
    )
