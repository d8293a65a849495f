"""What all connections of one worker share: application, rules, counters, running requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from pounce.access_log import AccessLog
from pounce.asgi import App
from pounce.worker.drain_notice import DrainNotice
from pounce.worker.scope import EXTENSIONS, ConnectionInfo, Trust
from pounce.worker.stats import Stats
from pounce.worker.wire import ConnectionWire, Receiver, RequestHead, Sink, Wire
from pounce.worker.wire.h1_head import HeadReader
from pounce.worker.wire.h1_rules import Http1Rules

if TYPE_CHECKING:
    from pounce.worker.http_stream import HttpStream
    from pounce.worker.sendfile import FileSource
    from pounce.worker.websocket_stream import WebSocketStream
    from pounce.worker.websocket_tunnel import WebSocketTunnel


log = logging.getLogger("pounce")

# Access lines wait this long to be written together; a line of a killed worker may be lost so.
FLUSH_DELAY: Final = 0.05  # seconds
RETRY_DELAY: Final = 0.25  # seconds, when the log's reader does not keep up
SAY_EVERY: Final = 10.0  # seconds between two lines about access lines that nobody took
# Clients that heard 503 and are left to read it do not count for max_connections; so many of them,
# or a quarter of that limit, may linger in one worker.
TURNED_AWAY_LIMIT: Final = 16
WRITE_BUFFER: Final = 64 * 1024


class Peer(Protocol):
    """What a stream needs of the connection below its wire."""

    info: ConnectionInfo

    async def send_file(self, source: FileSource) -> None: ...


class Member(Protocol):
    """One of the open connections, also while its TLS handshake is under way."""

    info: ConnectionInfo

    def drain(self) -> None: ...

    def sweep(self, now: float) -> None: ...

    def cut(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """When a peer that does not get on is given up; the settings of the same names say more.

    All in seconds, 0 for never; `body_min_rate` in bytes per second.

    Attributes:
        websocket: those that WebSockets have beside; they look after them themselves.
    """

    silent_timeout: float = 10.0
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    body_min_rate: int = 240
    keep_alive_timeout: float = 75.0
    write_timeout: float = 60.0
    tls_handshake_timeout: float = 10.0
    websocket: tuple[float, ...] = ()


class Clock:
    """Seconds of the worker's own running, as of the last sweep.

    Time in which the worker was stopped or blocked is left out, so that nobody's deadline passes
    while requests that came in time wait unread in the kernel.

    Attributes:
        stalled: seconds, in all, that were left out.
    """

    __slots__ = ("now", "stalled")

    def __init__(self) -> None:
        self.now = 0.0
        self.stalled = 0.0


class Service:
    """One worker's application and what serves it.

    Attributes:
        running: the task of each request whose application has not returned. The loop itself holds
            tasks weakly; one that waits for something only it knows would vanish.
        connections: all that are open.
        draining: no connection shall outlive its present request.
        leaving: nothing is accepted any more, and who is idle is not waited for.
        notice: tells applications of the drain.
        websockets: those whose end has not come, from the request for them on.
        open_http2: makes the wire of a connection that speaks HTTP/2; None where none does.
        open_websocket: makes the stream of a request for a WebSocket; None where none is served.
        wake: to be called when a client comes after a while without any; None while some come.
        extensions: of every scope.
        admit: counts one more connection, or one less; False when that is one too many.
        turned_away: of `connections`, those that were one too many and are not gone yet.
        unflushed: who holds something for flush(), at the end of this turn of the loop.
        turned_away_limit: past so many, who is told 503 is not waited for.
        write_buffer: bytes that may wait to be sent to one peer before its application waits.
    """

    __slots__ = (
        "_dropped",
        "_flush_timer",
        "_said_at",
        "access",
        "admit",
        "app",
        "clock",
        "connections",
        "draining",
        "extensions",
        "leaving",
        "loop",
        "notice",
        "open_http2",
        "open_websocket",
        "proxy_protocol",
        "reader",
        "root_path",
        "rules",
        "running",
        "state",
        "stats",
        "timeouts",
        "trust",
        "turned_away",
        "turned_away_limit",
        "unflushed",
        "wake",
        "websockets",
        "write_buffer",
    )

    def __init__(
        self,
        app: App,
        *,
        loop: asyncio.AbstractEventLoop,
        reader: HeadReader,
        rules: Http1Rules,
        timeouts: Timeouts,
        trust: Trust,
        access: AccessLog | None = None,
        admit: Callable[[int], bool] = lambda change: True,
        turned_away_limit: int = TURNED_AWAY_LIMIT,
        write_buffer: int = WRITE_BUFFER,
        proxy_protocol: bool = False,
        root_path: str = "",
        state: dict[str, Any] | None = None,
    ) -> None:
        self.app = app
        self.loop = loop
        self.reader = reader
        self.rules = rules
        self.timeouts = timeouts
        self.trust = trust
        self.access = access
        self.admit = admit
        self.turned_away = 0
        self.turned_away_limit = turned_away_limit
        self.write_buffer = write_buffer
        self.proxy_protocol = proxy_protocol
        self.root_path = root_path
        self.state = {} if state is None else state
        self.clock = Clock()
        self.stats = Stats()
        self.unflushed: list[ConnectionWire] = []
        self.connections: set[Member] = set()
        self.running: dict[HttpStream | WebSocketStream, asyncio.Task[None]] = {}
        self.websockets: set[WebSocketTunnel] = set()
        self.open_websocket: Callable[[Wire, RequestHead, Peer], Receiver] | None = None
        self.open_http2: Callable[[Sink, Callable[[bytes], None]], ConnectionWire] | None = None
        self.wake: Callable[[], None] | None = None
        self.notice = DrainNotice()
        self.extensions = {**EXTENSIONS, "pounce.drain": self.notice}
        self.draining = False
        self.leaving = False
        self._flush_timer: asyncio.TimerHandle | None = None
        self._dropped = 0
        self._said_at = -SAY_EVERY
        if access is not None:
            access.set_wake(self._flush_later)

    def flush(self) -> None:
        """Writes what connections have held in this turn of the loop: one call of it for all."""
        unflushed, self.unflushed = self.unflushed, []
        for wire in unflushed:
            try:
                wire.flush()
            except Exception as error:  # the others are still to be written
                told = {"message": "a connection could not be written to", "exception": error}
                self.loop.call_exception_handler(told)

    def flush_access(self) -> None:
        """Writes the access lines held; happens by itself soon after each."""
        self._flush_timer = None
        if self.access is None:
            return
        self._dropped += self.access.flush()
        now = self.loop.time()
        if self._dropped and (self.draining or now - self._said_at >= SAY_EVERY):
            log.warning("access log was not taken, lines were dropped lines=%d", self._dropped)
            self._dropped, self._said_at = 0, now
        if self.access.writer.holding:
            self._flush_later(RETRY_DELAY)

    def _flush_later(self, delay: float = FLUSH_DELAY) -> None:
        if self._flush_timer is None:
            self._flush_timer = self.loop.call_later(delay, self.flush_access)
