"""Every setting, once. Knows not where values come from; that is sources.py."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pounce.addresses import WANT
from pounce.config_http2 import HTTP2
from pounce.config_processes import PROCESSES, WORKERS
from pounce.config_tls import TLS, TlsSettings
from pounce.config_websockets import WEBSOCKETS
from pounce.settings import Form, Setting, declared, setting

APPLICATION: Final = "Application"
BINDING: Final = "Binding"
LIMITS: Final = "Limits"
TIMEOUTS: Final = "Timeouts"
PROXIES: Final = "Proxies"
HEADERS: Final = "Headers"
LOGS: Final = "Logs"
# As they are shown.
GROUPS: Final = (
    APPLICATION,
    BINDING,
    WORKERS,
    PROCESSES,
    LIMITS,
    TIMEOUTS,
    HTTP2,
    WEBSOCKETS,
    TLS,
    PROXIES,
    HEADERS,
    LOGS,
)


def _is_peer(text: str) -> bool:
    if text in ("*", "unix:"):
        return True
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _matches(pattern: str) -> Any:
    return re.compile(pattern, re.ASCII).fullmatch


def _is_host(text: str) -> bool:
    if ":" not in text:
        return bool(text) and "/" not in text
    try:
        ipaddress.IPv6Address(text[1:-1] if text[0] + text[-1] == "[]" else text)
    except ValueError:
        return False
    return True


HOST: Final = Form(
    _is_host,
    "a host name or an address alone; with a port, or for a unix socket, use bind instead",
)
MODE: Final = Form(
    lambda text: bool(_matches("0?[0-7]{3}")(text)), 'three octal digits as a text, such as "660"'
)
OWNER: Final = Form(
    lambda text: bool(_matches(r"|[^:\s]+(:[^:\s]+)?|:[^:\s]+")(text)),
    "user, user:group or :group",
)
MOUNT: Final = Form(
    lambda text: bool(_matches(r"|(/[^/?#\s]+)+")(text)),
    "empty, or a path that begins with / and does not end with one",
)
PEER: Final = Form(_is_peer, 'addresses, networks such as 10.0.0.0/8, "unix:" or "*"')
PATH: Final = Form(lambda text: text.startswith("/"), "paths that begin with /")
ADDRESS: Final = Form(bool, WANT)  # addresses.py judges the rest
NOT_EMPTY: Final = Form(bool, "a text that is not empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(TlsSettings):
    """Every setting, once. The flags, the POUNCE_* variables and docs/settings.md are read off it.

    Durations are in seconds, sizes in bytes. A Config whose values break their limits cannot be
    made: it raises ConfigError.
    """

    app: str = setting(
        "",
        metavar="APP",
        group=APPLICATION,
        help="The application: module:attribute, or module:factory() to call it without arguments.",
    )
    factory: bool = setting(
        False,
        group=APPLICATION,
        help="APP is a function to call, without arguments, that returns the application.",
    )
    app_dir: str = setting(
        ".",
        metavar="DIR",
        group=APPLICATION,
        form=NOT_EMPTY,
        help="Directory put first on sys.path before APP is imported.",
    )
    lifespan: str = setting(
        "auto",
        group=APPLICATION,
        choices=("auto", "on", "off"),
        help="Run the application's lifespan: on demands it, auto goes on without where there is "
        "none.",
    )
    root_path: str = setting(
        "",
        metavar="PATH",
        group=APPLICATION,
        form=MOUNT,
        help="Path under which a proxy in front serves the application, such as /api.",
    )

    bind: tuple[str, ...] = setting(
        (),
        metavar="ADDRESS",
        group=BINDING,
        form=ADDRESS,
        help="Address to listen on, in place of host and port: host:port, [::1]:port, :port, "
        "unix:/path or fd://N.",
    )
    host: str = setting(
        "127.0.0.1",
        metavar="HOST",
        group=BINDING,
        form=HOST,
        help="Host name or address to listen on; 0.0.0.0 or :: for all.",
    )
    port: int = setting(
        8000,
        group=BINDING,
        least=0,
        most=65535,
        zero="a free port, printed at start",
        help="TCP port to listen on.",
    )
    uds_mode: str = setting(
        "660", metavar="MODE", group=BINDING, form=MODE, help="Permissions of unix sockets, octal."
    )
    uds_owner: str = setting(
        "",
        metavar="OWNER",
        group=BINDING,
        form=OWNER,
        help="Owner of unix sockets: user, user:group or :group.",
    )
    backlog: int = setting(
        2048,
        group=BINDING,
        least=1,
        most=65535,
        help="Connections that the kernel may hold for each listener until they are accepted.",
    )
    listen_mode: str = setting(
        "slots",
        group=BINDING,
        choices=("slots", "shared"),
        help="A queue of new connections for each worker, or one for all, which suits applications "
        "that block their event loop.",
    )

    max_connections: int = setting(
        0,
        group=LIMITS,
        least=0,
        zero="no limit",
        help="Connections at once, over all workers; those past it get 503 and are closed.",
    )
    max_keep_alive_requests: int = setting(
        0,
        group=LIMITS,
        least=0,
        zero="no limit",
        help="Requests that one connection may carry before it is closed.",
    )
    max_target_size: int = setting(
        8192, group=LIMITS, unit="bytes", least=64, help="Longest request target; past it 414."
    )
    max_field_size: int = setting(
        16384, group=LIMITS, unit="bytes", least=64, help="Longest header field; past it 431."
    )
    max_head_size: int = setting(
        65536,
        group=LIMITS,
        unit="bytes",
        least=256,
        help="Longest request head, request line and all fields together; past it 431.",
    )
    max_headers: int = setting(
        100, group=LIMITS, least=1, help="Most header fields of one request; past it 431."
    )
    max_body_size: int = setting(
        0,
        group=LIMITS,
        unit="bytes",
        least=0,
        zero="no limit",
        help="Longest request body; past it 413.",
    )
    write_buffer: int = setting(
        65536,
        group=LIMITS,
        unit="bytes",
        least=1,
        help="What waits to be sent to one peer before the application's send() waits for it to "
        "read.",
    )

    silent_timeout: float = setting(
        10.0,
        group=TIMEOUTS,
        unit="seconds",
        least=0,
        zero="off",
        help="How long a new connection may stay silent before its first byte.",
    )
    head_timeout: float = setting(
        10.0,
        group=TIMEOUTS,
        unit="seconds",
        least=0,
        zero="off",
        help="How long a request head may take from its first byte to its last.",
    )
    body_timeout: float = setting(
        30.0,
        group=TIMEOUTS,
        unit="seconds",
        least=0,
        zero="off",
        help="How long a request body that the application waits for may make no progress.",
    )
    body_min_rate: int = setting(
        240,
        group=TIMEOUTS,
        unit="bytes",
        least=0,
        zero="off",
        help="Least bytes per second of a request body, averaged over each body_timeout.",
    )
    keep_alive_timeout: float = setting(
        75.0,
        group=TIMEOUTS,
        unit="seconds",
        least=0,
        zero="off",
        help="How long a connection may idle between requests, and a WebSocket at all.",
    )
    write_timeout: float = setting(
        60.0,
        group=TIMEOUTS,
        unit="seconds",
        least=0,
        zero="off",
        help="How long a peer may read nothing of an answer before the connection is cut.",
    )

    forwarded_allow_ips: tuple[str, ...] = setting(
        ("127.0.0.1", "::1"),
        metavar="PEER",
        group=PROXIES,
        form=PEER,
        help="Peers whose Forwarded and X-Forwarded-* headers are believed: addresses, networks, "
        "unix: (any peer of a unix socket) or * (everybody).",
    )
    proxy_protocol: bool = setting(
        False,
        group=PROXIES,
        help="Connections of those peers begin with a PROXY protocol header, version 1 or 2.",
    )

    server_header: bool = setting(True, group=HEADERS, help="Answer with a Server header.")
    date_header: bool = setting(True, group=HEADERS, help="Answer with a Date header.")

    access_log: bool = setting(True, group=LOGS, help="Write one line for each request.")
    access_log_file: str = setting(
        "-",
        metavar="FILE",
        group=LOGS,
        form=NOT_EMPTY,
        help="File for the access log; - is standard output.",
    )
    access_log_exclude: tuple[str, ...] = setting(
        (),
        metavar="PATH",
        group=LOGS,
        form=PATH,
        help="Paths left out of the access log; one that ends in * stands for all that begin so.",
    )
    log_level: str = setting(
        "info",
        group=LOGS,
        choices=("critical", "error", "warning", "info", "debug"),
        help="Least severity of the server's own log.",
    )
    log_format: str = setting(
        "text",
        group=LOGS,
        choices=("text", "json"),
        help="Form of the log and of the access log: lines for people, or JSON objects.",
    )
    log_config: str = setting(
        "",
        metavar="FILE",
        group=LOGS,
        help="File for logging.config: .json or .toml (dictConfig), .ini, .cfg or .conf "
        "(fileConfig).",
    )

    def __post_init__(self) -> None:
        for name, one in SETTINGS.items():
            one.take(getattr(self, name), origin="Config")

    @property
    def addresses(self) -> tuple[str, ...]:
        """What to listen on: `bind`, or else host and port in the same notation."""
        host = f"[{self.host}]" if ":" in self.host and self.host[0] != "[" else self.host
        return self.bind or (f"{host}:{self.port}",)


SETTINGS: Final[Mapping[str, Setting]] = dict(
    sorted(declared(Config).items(), key=lambda item: GROUPS.index(item[1].group))
)
