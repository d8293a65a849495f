"""A forked worker from birth to exit status: its application, its loop and what serves it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable

from pounce import ipc, orphan
from pounce.access_log import AccessLog, LineWriter
from pounce.app import load_app
from pounce.asgi import App
from pounce.config import Config
from pounce.errors import EXIT_OK, LoadError
from pounce.scoreboard import Scoreboard
from pounce.worker.acceptor import make_acceptor
from pounce.worker.connection import Connection
from pounce.worker.lifespan import Lifespan
from pounce.worker.scope import Trust
from pounce.worker.service import Service, Timeouts
from pounce.worker.wire.h1_h11 import H11Reader
from pounce.worker.wire.h1_head import HeadReader
from pounce.worker.wire.h1_output import Http1Rules
from pounce.worker.wire.h1_request import Limits
from pounce.worker.worker import Worker

log = logging.getLogger("pounce")


def load(config: Config) -> App:
    """The application, for a template: with what a worker needs beside it imported as well.

    Raises:
        LoadError: it cannot be imported.
    """
    if config.loop != "asyncio":
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: F401
    new_reader(config.http)
    return load_app(config.app, factory=config.factory, app_dir=config.app_dir)


def run_loaded(config: Config, scoreboard: Scoreboard, app: App, seat: ipc.Seat) -> int:
    """run() for a worker whose template has imported the application."""
    with socket.socket(fileno=os.dup(seat.control)) as control:
        control.send(ipc.encode(ipc.Hello(os.getpid())))
    orphan.die_with_master(seat.control)
    return run(config, scoreboard, seat, app=app)


def run(config: Config, scoreboard: Scoreboard, seat: ipc.Seat, *, app: App | None = None) -> int:
    """Serves until told to drain; returns the exit status. Called in the forked child."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)  # the master's; they may reach the whole group
    # Until there is a loop that can drain, nothing has begun that would have to be finished.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_OK))
    worker = Worker(seat)
    try:
        app = app or load_app(config.app, factory=config.factory, app_dir=config.app_dir)
    except LoadError as error:
        return worker.fail(error)
    lifespan = Lifespan(app, mode=config.lifespan)
    loop = new_loop(config.loop)
    asyncio.set_event_loop(loop)
    service = Service(
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
        ),
        trust=Trust(config.forwarded_allow_ips),
        access=_access_log(config),
        admit=_counter(scoreboard, seat.record, config.max_connections),
        proxy_protocol=config.proxy_protocol,
        root_path=config.root_path,
        state=lifespan.state,
    )
    acceptor = make_acceptor(
        loop, seat.listeners, lambda: Connection(service), backlog=config.backlog
    )
    return loop.run_until_complete(
        worker.serve(
            service,
            lifespan,
            acceptor,
            date=config.date_header,
            shutdown_timeout=config.shutdown_timeout,
        )
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


def _counter(scoreboard: Scoreboard, record: int, limit: int) -> Callable[[int], bool]:
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
