"""A Config to the parts of one worker: loop, reader of heads, service. Runs none of them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any, Final

from pounce.access_log import AccessLog, LineWriter
from pounce.asgi import App
from pounce.config import Config
from pounce.errors import ExtraMissing
from pounce.scoreboard import Scoreboard
from pounce.worker.scope import Trust
from pounce.worker.service import TURNED_AWAY_LIMIT, Service, Timeouts
from pounce.worker.wire.h1_h11 import H11Reader
from pounce.worker.wire.h1_head import HeadReader
from pounce.worker.wire.h1_request import Limits
from pounce.worker.wire.h1_rules import Http1Rules

log = logging.getLogger("pounce")

LOST_ON_THE_WAY: Final = (
    "the key of a WebSocket came in a request that asks for none, which was answered as any other; "
    "a proxy in front must speak HTTP/1.1 and pass on Upgrade and Connection"
)


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    """An event loop: uvloop's where it is wanted and installed."""
    if name != "asyncio":
        try:
            import uvloop
        except ImportError:
            if name == "uvloop":
                raise
        else:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
    return asyncio.new_event_loop()


def new_reader(name: str) -> HeadReader:
    """A reader of HTTP/1.1 heads: httptools where it is wanted and installed."""
    if name != "h11":
        try:
            from pounce.worker.wire.h1_httptools import HttptoolsReader
        except ImportError:
            if name == "httptools":
                raise
        else:
            return HttptoolsReader()
    return H11Reader()


def _access_log(config: Config) -> AccessLog | None:
    if not config.access_log:
        return None
    return AccessLog(
        LineWriter(config.access_log_file),
        worker=os.getpid(),
        form=config.log_format,
        exclude=config.access_log_exclude,
    )


def counter(scoreboard: Scoreboard, record: int, limit: int) -> Callable[[int], bool]:
    """Counts this worker's connections where all workers see them; False past `limit`."""
    if not limit:
        return lambda change: True
    count = 0

    def admit(change: int) -> bool:
        nonlocal count
        count += change
        scoreboard.set_connections(record, count)
        return change < 0 or scoreboard.total_connections() <= limit

    return admit


def new_service(
    config: Config,
    app: App,
    loop: asyncio.AbstractEventLoop,
    state: dict[str, Any],
    *,
    admit: Callable[[int], bool],
) -> Service:
    """What all connections of a worker share, by the settings.

    Args:
        state: of the lifespan.
        admit: counts connections; see Service.
    """
    return Service(
        app,
        loop=loop,
        reader=new_reader(config.http),
        rules=Http1Rules(
            Limits(
                max_target_size=config.max_target_size,
                max_field_size=config.max_field_size,
                max_head_size=config.max_head_size,
                max_headers=config.max_headers,
                max_body_size=config.max_body_size,
            ),
            server=b"pounce" if config.server_header else b"",
            max_requests=config.max_keep_alive_requests,
        ),
        timeouts=Timeouts(
            silent_timeout=config.silent_timeout,
            head_timeout=config.head_timeout,
            body_timeout=config.body_timeout,
            body_min_rate=config.body_min_rate,
            keep_alive_timeout=config.keep_alive_timeout,
            write_timeout=config.write_timeout,
            tls_handshake_timeout=config.tls_handshake_timeout,
            websocket=(
                config.websocket_handshake_timeout,
                config.websocket_ping_interval,
                config.websocket_ping_timeout,
            ),
        ),
        trust=Trust(config.forwarded_allow_ips),
        access=_access_log(config),
        admit=admit,
        turned_away_limit=max(TURNED_AWAY_LIMIT, config.max_connections // 4),
        write_buffer=config.write_buffer,
        proxy_protocol=config.proxy_protocol,
        root_path=config.root_path,
        state=state,
    )


def serve_websockets(config: Config, service: Service) -> bool:
    """Lets a service open WebSockets; False where the settings or a missing wsproto forbid it."""
    if config.websockets == "off":
        return False
    try:
        from pounce.worker.websocket_assembly import new_opening
    except ImportError:
        if config.websockets == "on":
            raise
        what = "serving the WebSocket that a client asked for"
        why = str(ExtraMissing(what, library="wsproto", extra="ws"))
        service.rules.unserved = _sayer(service.rules, why)
        return False
    service.open_websocket = new_opening(config, service)
    service.rules.websockets = True
    service.rules.unserved = _sayer(service.rules, LOST_ON_THE_WAY)
    return True


def serve_http2(config: Config, service: Service) -> bool:
    """Lets a service speak HTTP/2; False where the settings or a missing h2 forbid it.

    After serve_websockets(): what is offered to a client follows from it.
    """
    if config.http2 == "off":
        return False
    try:
        from pounce.worker.http2_assembly import new_http2
    except ImportError:
        if config.http2 != "auto":
            raise
        return False
    service.open_http2 = new_http2(config, service)
    return True


def _sayer(rules: Http1Rules, why: str) -> Callable[[], None]:
    """Warns once in a worker's life. To its client such a request is any other, mostly a 404."""

    def say() -> None:
        rules.unserved = None
        log.warning("%s", why)

    return say
