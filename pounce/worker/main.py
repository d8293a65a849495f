"""A forked worker from birth to exit status: its application, its loop and what serves it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from typing import Final

from pounce import ipc, orphan
from pounce.app import load_app
from pounce.asgi import App
from pounce.config import Config
from pounce.errors import EXIT_OK, LoadError
from pounce.https import Https
from pounce.scoreboard import Scoreboard
from pounce.worker.assembly import (
    counter,
    new_loop,
    new_reader,
    new_service,
    serve_http2,
    serve_websockets,
)
from pounce.worker.confession import confess_when_asked, write_stacks_at_the_end
from pounce.worker.door import Door
from pounce.worker.entrances import entrances
from pounce.worker.lifespan import Lifespan
from pounce.worker.worker import Worker

log = logging.getLogger("pounce")

# Importing a framework makes objects by the hundred thousand and hardly any garbage: with the usual
# thresholds a tenth of its time goes into looking for some. Set before the application is imported,
# whose own choice then stands.
GC_THRESHOLDS: Final = (10_000, 20, 20)


def load(config: Config) -> App:
    """The application, with what a worker needs beside it imported as well.

    Raises:
        LoadError: it cannot be imported.
    """
    if config.loop != "asyncio":
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: F401
    new_reader(config.http)
    if config.websockets != "off":
        with contextlib.suppress(ImportError):
            import pounce.worker.websocket_assembly
    if config.http2 != "off":
        with contextlib.suppress(ImportError):
            import pounce.worker.http2_assembly
    if config.certfile:
        import pounce.worker.https_only
        import pounce.worker.tls_transport  # noqa: F401
    gc.set_threshold(*GC_THRESHOLDS)
    return load_app(config.app, factory=config.factory, app_dir=config.app_dir)


def run_loaded(
    config: Config,
    scoreboard: Scoreboard,
    app: App,
    seat: ipc.Seat,
    *,
    https: Https | None = None,
) -> int:
    """run() for a worker whose template has imported the application."""
    with socket.socket(fileno=os.dup(seat.control)) as control:
        try:
            control.send(ipc.encode(ipc.Hello(os.getpid())))
        except OSError:
            return EXIT_OK  # it came too late, the master has given it up
    orphan.die_with_master(seat.control)
    return run(config, scoreboard, seat, app=app, https=https)


def run(
    config: Config,
    scoreboard: Scoreboard,
    seat: ipc.Seat,
    *,
    app: App | None = None,
    https: Https | None = None,
) -> int:
    """Serves until told to drain; returns the exit status. Called in the forked child."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)  # the master's; they may reach the whole group
    # Until there is a loop that can drain, nothing has begun that would have to be finished.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_OK))
    if seat.trace >= 0:
        write_stacks_at_the_end(seat.trace)
    worker = Worker(seat)
    try:
        app = app or load(config)
    except LoadError as error:
        return worker.fail(error)
    lifespan = Lifespan(app, mode=config.lifespan)
    loop = new_loop(config.loop)
    asyncio.set_event_loop(loop)
    service = new_service(
        config,
        app,
        loop,
        lifespan.state,
        admit=counter(scoreboard, seat.record, config.max_connections),
    )
    serve_websockets(config, service)
    serve_http2(config, service)
    confess_when_asked(service)
    accept_on = entrances(loop, service, https, backlog=config.backlog)
    return loop.run_until_complete(
        worker.serve(
            service,
            lifespan,
            Door(seat.listeners, accept_on),
            date=config.date_header,
            shutdown_timeout=config.shutdown_timeout,
            # With --reload the next save is waited for, and a page on the old code misleads.
            websocket_drain="prompt" if config.reload else config.websocket_drain,
        )
    )
