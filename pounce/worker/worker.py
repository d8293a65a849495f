"""A worker's dealings with its master and its own clock: what it is told, does and says.

When to do what is decided in lifecycle.py; this performs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import Coroutine, Sequence
from email.utils import formatdate
from typing import Any, Final

from pounce import ipc
from pounce import log as logs
from pounce.errors import EXIT_OK, LifespanError, LoadError
from pounce.worker.control import Control
from pounce.worker.door import Door
from pounce.worker.heartbeats import Heartbeats
from pounce.worker.lifecycle import Cue, Do, Lifecycle, LifecycleError, Stage
from pounce.worker.lifespan import Lifespan
from pounce.worker.seeing_off import SeeingOff
from pounce.worker.service import Service, Timeouts

log = logging.getLogger("pounce")

TICK: Final = 1.0  # seconds between two sweeps and Date values
DRAIN_TICK: Final = 0.05
DRAIN_TICK_EACH: Final = 2e-5  # of thousands of connections, each takes microseconds of a tick
# The master is gone: nobody replaces us, and the next master wants the port.
ORPHAN_TIMEOUT: Final = 0.5
# Lifespan shutdown gets this long even when the drain used its time up.
SHUTDOWN_GRACE: Final = 0.5
SECOND_SIGNAL_TIMEOUT: Final = 1.0


class Worker:
    """What the master sees of a worker: its words, and what it does upon the master's."""

    def __init__(self, seat: ipc.Seat) -> None:
        self._seat = seat
        self._control = Control(seat.control, heard=self._hear, master_gone=self._orphaned)
        self._lifecycle = Lifecycle(shutdown_grace=SHUTDOWN_GRACE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._cut = 0
        self._stopping_since = 0.0
        self._term_seen = False

    def fail(self, error: LoadError | LifespanError) -> int:
        """Tells the master why there will be no Ready; the exit status."""
        message = ipc.failed(error.exit_code, str(error), error.traceback)
        self._control.say_last(message)
        return error.exit_code

    async def serve(
        self,
        service: Service,
        lifespan: Lifespan,
        door: Door,
        *,
        date: bool,
        shutdown_timeout: float,
        websocket_drain: str = "linger",
    ) -> int:
        """From lifespan startup to lifespan shutdown; the exit status."""
        self._service = service
        self._lifespan = lifespan
        self._door = door
        self._date = date
        self._shutdown_timeout = shutdown_timeout
        self._seeing_off = SeeingOff(service.websockets, websocket_drain)
        self._heartbeats = Heartbeats(service, self._control.say)
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
        self._swept_at = loop.time()
        self._tick()
        self._heartbeats.beat()
        self._cue(Cue.STARTED)
        await self._over
        return EXIT_OK

    # What comes in.

    def _hear(self, message: ipc.Message, descriptors: Sequence[int]) -> None:
        match message:
            case ipc.Go():
                self._cue(Cue.GO)
            case ipc.Pause():
                self._cue(Cue.PAUSE)
            case ipc.LameDuck():
                self._last_answers()
            case ipc.Adopt(slot):
                self._spawn(self._adopt(slot, descriptors))
            case ipc.Release(slot):
                self._spawn(self._door.release(slot))
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
        self._service.notice.begin(reason, within_s)
        self._perform(self._lifecycle.drain(reason, within_s, self._loop.time()))
        if self._service.leaving:
            self._see_websockets_off()  # sooner than was said before

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
                    self._spawn(self._accept())
                case Do.PAUSE:
                    self._spawn(self._door.pause())
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
            await self._door.open()
        except OSError as error:
            log.error("cannot listen, giving up error=%s", error)
            self._drain("exit", 0.0)
        else:
            self._control.say(ipc.Accepting())

    async def _close_door(self) -> None:
        order = self._lifecycle.order
        self._last_answers()  # also those who are still let in
        await self._door.shut(for_good=order is not None and order.reason == "scale")
        service = self._service
        service.leaving = True
        self._last_answers()
        websockets = len(service.websockets)
        http = max(0, len(service.connections) - websockets)
        self._control.say(ipc.Draining(http=http, websockets=websockets))
        self._see_websockets_off()
        self._tick()

    def _see_websockets_off(self) -> None:
        order = self._lifecycle.order
        if order is not None:
            self._seeing_off.begin(order.reason, self._loop.time(), order.deadline)

    async def _adopt(self, slot: int, descriptors: Sequence[int]) -> None:
        try:
            await self._door.adopt(slot, descriptors)
        except OSError as error:
            log.warning("cannot look after slot=%d error=%s", slot, error)

    def _last_answers(self) -> None:
        """Every answer from now on is its connection's last."""
        self._service.draining = True
        for connection in self._service.connections:
            connection.drain()

    def _cut_off(self) -> None:
        service = self._service
        self._cut = len(service.running)
        websockets = service.stats.websockets.running
        log.warning(
            "drain is over, cutting what is left connections=%d requests=%d websockets=%d",
            len(service.connections),
            len(service.running) - websockets,
            websockets,
        )
        for connection in list(service.connections):
            # Told first: an application that is cancelled while its client seems to be there would
            # be logged, and answered, as one that failed.
            connection.cut("the drain is over")
        # Cancelled before its first step, a task would never run, nor take itself off the list.
        self._loop.call_soon(self._cancel_what_runs)

    def _cancel_what_runs(self) -> None:
        for task in list(self._service.running.values()):
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
        self._heartbeats.end()
        self._control.say_last(ipc.Drained(cut=self._cut))
        if not self._over.done():
            self._over.set_result(None)

    def _reopen_logs(self) -> None:
        logs.reopen()
        if self._service.access is not None:
            with contextlib.suppress(OSError):
                self._service.access.writer.reopen()

    # As time passes.

    def _tick(self) -> None:
        """Date, deadlines of connections and of the stage."""
        now = self._loop.time()
        service = self._service
        stage = self._lifecycle.stage
        if stage is Stage.ENDED:
            return
        if self._timer is not None:
            self._timer.cancel()
        interval = self._interval
        if service.leaving:
            interval = min(interval, max(DRAIN_TICK, len(service.connections) * DRAIN_TICK_EACH))
        self._timer = self._loop.call_later(interval, self._tick)
        if self._date:
            service.rules.set_date(formatdate(usegmt=True).encode("ascii"))
        if service.access is not None:
            service.access.set_time(time.time())
        # Time in which this process stood still is nobody's fault but its own.
        passed = now - self._swept_at
        service.clock.now += min(passed, 2 * interval)
        service.clock.stalled += max(0.0, passed - 2 * interval)
        self._swept_at = now
        if service.leaving:
            self._seeing_off.go_on(now)
        self._sweep()
        if stage in (Stage.DRAINING, Stage.CUTTING) and not (
            service.connections or service.running
        ):
            self._cue(Cue.EMPTY)
        else:
            deadline = self._lifecycle.next_deadline()
            if deadline is not None and now >= deadline:
                self._cue(Cue.OVERDUE)

    def _sweep(self) -> None:
        service = self._service
        now = service.clock.now
        for connection in list(service.connections):
            try:
                connection.sweep(now)
            except Exception:  # a bug of ours with one peer must not become everybody's
                log.exception(
                    "deadlines of a connection cannot be looked at, cutting it client=%s",
                    connection.info.client_text,
                )
                service.connections.discard(connection)
                with contextlib.suppress(Exception):
                    connection.cut("a bug of the server")
        for websocket in list(service.websockets):
            try:
                websocket.sweep(now, service.clock.stalled)
            except Exception:
                log.exception(
                    "deadlines of a websocket cannot be looked at, cutting it client=%s",
                    websocket.client,
                )
                service.websockets.discard(websocket)
                with contextlib.suppress(Exception):
                    websocket.cut("a bug of the server")


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
            timeouts.tls_handshake_timeout,
            *timeouts.websocket,
        )
        if value
    ]
    return max(DRAIN_TICK, min([TICK, *(value / 4 for value in enabled)]))


def _log_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("%s", context.get("message", "event loop error"), exc_info=context.get("exception"))
