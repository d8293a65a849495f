"""A forked worker from birth to exit status: loop, application, lifespan, traffic, drain.

When to do what is decided in lifecycle.py; this performs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Coroutine, Sequence
from email.utils import formatdate
from typing import Any, Final

from pounce import ipc
from pounce import log as logs
from pounce.app import load_app
from pounce.config import Config
from pounce.errors import EXIT_OK, LifespanError, LoadError
from pounce.scoreboard import Scoreboard
from pounce.worker.acceptor import Acceptor, make_acceptor
from pounce.worker.assembly import counter, new_loop, new_service
from pounce.worker.connection import Connection
from pounce.worker.control import Control
from pounce.worker.lifecycle import Cue, Do, Lifecycle, LifecycleError, Stage
from pounce.worker.lifespan import Lifespan
from pounce.worker.service import Service, Timeouts

log = logging.getLogger("pounce")

TICK: Final = 1.0  # seconds between two sweeps, heartbeats and Date values
DRAIN_TICK: Final = 0.05
# The master is gone: nobody replaces us, and the next master wants the port.
ORPHAN_TIMEOUT: Final = 0.5
# Lifespan shutdown gets this long even when the drain used its time up.
SHUTDOWN_GRACE: Final = 0.5
SECOND_SIGNAL_TIMEOUT: Final = 1.0
TRACE_LIMIT: Final = 2000  # characters of a traceback that travel to the master: its end


def run(config: Config, scoreboard: Scoreboard, seat: ipc.Seat) -> int:
    """Serves until told to drain; returns the exit status. Called in the forked child."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)  # the master's; they may reach the whole group
    # Until there is a loop that can drain, nothing has begun that would have to be finished.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_OK))
    worker = Worker(seat)
    try:
        app = load_app(config.app, factory=config.factory, app_dir=config.app_dir)
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


class Worker:
    """What the master sees of a worker: its words, and what it does upon the master's."""

    def __init__(self, seat: ipc.Seat) -> None:
        self._seat = seat
        self._control = Control(seat.control, heard=self._hear, master_gone=self._orphaned)
        self._lifecycle = Lifecycle(shutdown_grace=SHUTDOWN_GRACE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cut = 0
        self._stopping_since = 0.0
        self._term_seen = False

    def fail(self, error: LoadError | LifespanError) -> int:
        """Tells the master why there will be no Ready; the exit status."""
        why, trace = str(error)[:500], error.traceback[-TRACE_LIMIT:]
        message = ipc.Failed(error.exit_code, why, trace)
        while True:
            try:
                ipc.encode(message)
                break
            except ValueError:  # escapes made it longer than a line may be
                trace = trace[len(trace) // 4 + 1 :]
                if not trace:
                    why = why[: len(why) * 3 // 4]
                message = ipc.Failed(error.exit_code, why, trace)
        self._control.say_last(message)
        return error.exit_code

    async def serve(
        self,
        service: Service,
        lifespan: Lifespan,
        acceptor: Acceptor,
        *,
        date: bool,
        shutdown_timeout: float,
    ) -> int:
        """From lifespan startup to lifespan shutdown; the exit status."""
        self._service = service
        self._lifespan = lifespan
        self._acceptor = acceptor
        self._date = date
        self._shutdown_timeout = shutdown_timeout
        self._loop = loop = service.loop
        self._over = loop.create_future()
        self._interval = sweep_interval(service.timeouts)
        loop.set_exception_handler(_log_loop_error)
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        self._control.listen(loop)
        try:
            await lifespan.start()
        except LifespanError as error:
            return self.fail(error)
        # An application that sets up its own logging disables all loggers it does not name, unless
        # it knows how to say otherwise; its faults would be seen nowhere.
        log.disabled = False
        # What the application has made by now stays: no later collection need look at it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        self._swept_at = self._beaten_at = loop.time()
        self._tick()
        self._cue(Cue.STARTED)
        await self._over
        return EXIT_OK

    # What comes in.

    def _hear(self, message: ipc.Message) -> None:
        match message:
            case ipc.Go():
                self._cue(Cue.GO)
            case ipc.Drain(reason, within_s):
                self._drain(reason, within_s)
            case ipc.ReopenLogs():
                self._reopen_logs()
            case _:
                log.warning("message from the master ignored: %r", message)

    def _orphaned(self) -> None:
        log.warning("master is gone, draining within_s=%.1f", ORPHAN_TIMEOUT)
        self._drain("master gone", ORPHAN_TIMEOUT)

    def _terminate(self) -> None:
        """SIGTERM to this worker alone: it goes, and the master replaces it."""
        within_s = SECOND_SIGNAL_TIMEOUT if self._term_seen else self._shutdown_timeout
        self._term_seen = True
        self._drain("exit", within_s)

    def _drain(self, reason: str, within_s: float) -> None:
        self._perform(self._lifecycle.drain(reason, within_s, self._loop.time()))

    def _cue(self, cue: Cue) -> None:
        try:
            self._perform(self._lifecycle.handle(cue, self._loop.time()))
        except LifecycleError as error:
            log.error("cue ignored %s", error)

    # What is done about it.

    def _perform(self, actions: Sequence[Do]) -> None:
        for action in actions:
            match action:
                case Do.SAY_READY:
                    self._control.say(ipc.Ready())
                case Do.ACCEPT:
                    self._accepting = self._spawn(self._accept())
                case Do.CLOSE_DOOR:
                    self._spawn(self._close_door())
                case Do.CUT:
                    self._cut_off()
                case Do.SHUT_DOWN:
                    self._spawn(self._shut_down())
                case Do.EXIT:
                    self._exit()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        try:
            await self._acceptor.start()
        except OSError as error:
            log.error("cannot listen, giving up error=%s", error)
            self._drain("exit", 0.0)
        else:
            self._control.say(ipc.Accepting())

    async def _close_door(self) -> None:
        if self._accepting is not None:
            await self._accepting  # or it would open what is closed here
        await self._acceptor.stop()
        service = self._service
        service.draining = True
        for connection in service.connections:
            connection.drain()
        self._control.say(ipc.Draining(http=len(service.connections), websockets=0))
        self._interval = DRAIN_TICK
        self._tick()

    def _cut_off(self) -> None:
        service = self._service
        self._cut = len(service.running)
        log.warning(
            "drain is over, cutting what is left connections=%d requests=%d",
            len(service.connections),
            len(service.running),
        )
        for connection in list(service.connections):
            # Told first: an application that is cancelled while its client seems to be there would
            # be logged, and answered, as one that failed.
            connection.cut("the drain is over")
        for task in list(service.running.values()):
            task.cancel()

    async def _shut_down(self) -> None:
        self._stopping_since = self._loop.time()
        await self._lifespan.stop()
        self._cue(Cue.STOPPED)

    def _exit(self) -> None:
        if self._lifespan.stopping:
            log.warning(
                "lifespan shutdown was not over in time, leaving without its end had_s=%.1f",
                self._loop.time() - self._stopping_since,
            )
        self._service.flush_access()
        self._control.say_last(ipc.Drained(cut=self._cut))
        if not self._over.done():
            self._over.set_result(None)

    def _reopen_logs(self) -> None:
        logs.reopen()
        if self._service.access is not None:
            with contextlib.suppress(OSError):
                self._service.access.writer.reopen()

    # Once a second.

    def _tick(self) -> None:
        """Date, deadlines of connections and of the stage, heartbeat."""
        now = self._loop.time()
        service = self._service
        stage = self._lifecycle.stage
        if stage is Stage.ENDED:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._interval, self._tick)
        if self._date:
            service.rules.set_date(formatdate(usegmt=True).encode("ascii"))
        if service.access is not None:
            service.access.set_time(time.time())
        # Time in which this process stood still is nobody's fault but its own.
        service.clock.now += min(now - self._swept_at, 2 * self._interval)
        self._swept_at = now
        for connection in list(service.connections):
            try:
                connection.sweep(service.clock.now)
            except Exception:  # a bug of ours with one peer must not become everybody's
                log.exception(
                    "deadlines of a connection cannot be looked at, cutting it client=%s",
                    connection.info.client_text,
                )
                service.connections.discard(connection)
                with contextlib.suppress(Exception):
                    connection.cut("a bug of the server")
        if now - self._beaten_at >= TICK:
            self._beaten_at = now
            stats = service.stats
            self._control.say(
                ipc.Heartbeat(stats.connections, stats.requests, len(service.running))
            )
        if stage in (Stage.DRAINING, Stage.CUTTING) and not (
            service.connections or service.running
        ):
            self._cue(Cue.EMPTY)
        else:
            deadline = self._lifecycle.next_deadline()
            if deadline is not None and now >= deadline:
                self._cue(Cue.OVERDUE)


def sweep_interval(timeouts: Timeouts) -> float:
    """Seconds between two sweeps: a quarter of the shortest timeout, and one at most.

    A connection is seen to wait by the first sweep after it begins to, and given up by the first
    one after its limit. So it is up to two sweeps late: half the shortest timeout, or two seconds.
    """
    enabled = [
        value
        for value in (
            timeouts.silent_timeout,
            timeouts.head_timeout,
            timeouts.body_timeout,
            timeouts.keep_alive_timeout,
            timeouts.write_timeout,
        )
        if value
    ]
    return max(DRAIN_TICK, min([TICK, *(value / 4 for value in enabled)]))


def _log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("%s", context.get("message", "event loop error"), exc_info=context.get("exception"))
