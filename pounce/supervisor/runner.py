"""The master's loop: signals, pipes and deadlines become events, actions are performed. Decides
nothing; that is state.py.

It never imports the application, starts no thread and sleeps until the next deadline.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from pounce import ipc, orphan
from pounce.listeners import Listeners
from pounce.supervisor import orders, process
from pounce.supervisor.child import Child
from pounce.supervisor.state import Supervisor
from pounce.supervisor.watch import Watcher

log = logging.getLogger("pounce")

WorkerEntry = Callable[[ipc.Seat], int]

EVENT_OF: Final[Mapping[int, orders.Event]] = {
    signal.SIGTERM: orders.Stop(),
    signal.SIGINT: orders.Stop(),
    signal.SIGHUP: orders.Reload(),
}
LEVEL_OF: Final[Mapping[orders.Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class Scoreboard(Protocol):
    """What the runner needs of the scoreboard: one record for each worker process."""

    @property
    def records(self) -> int: ...
    def clear(self, record: int) -> None: ...


class Runner:
    """One server: its slots, its workers and its listeners, from start to end.

    Args:
        entry: what a forked worker runs; its return value is the exit status.
        listeners: bound. Runner listens when the first workers are ready, and ends them.
        slots: number of workers.
        scoreboard: with two records for each slot, or no reload can succeed, and more for what
            still drains of older generations.
        start_timeout: seconds from fork to Ready, and again from Go to Accepting.
        shutdown_timeout: seconds in which a stopping worker may finish what it has begun.
        reload_dirs: reload when a Python file below them changes.
    """

    def __init__(
        self,
        entry: WorkerEntry,
        *,
        listeners: Listeners,
        slots: int,
        scoreboard: Scoreboard,
        start_timeout: float = 60.0,
        shutdown_timeout: float = 30.0,
        reload_dirs: Sequence[Path] = (),
    ) -> None:
        self._entry = entry
        self._listeners = listeners
        self._scoreboard = scoreboard
        self._reload_dirs = reload_dirs
        self._state = Supervisor(
            slots=slots, start_timeout=start_timeout, shutdown_timeout=shutdown_timeout
        )
        self._children: dict[int, Child] = {}
        self._free_records = set(range(scoreboard.records))
        self._events: deque[orders.Event] = deque([orders.Tick()])
        self._status: int | None = None
        self._watcher: Watcher | None = None

    def run(self) -> int:
        """Serve until told to stop; the exit status. Once, and in the main thread (signals)."""
        self._selector = selectors.DefaultSelector()
        self._wake, self._wakeup = socket.socketpair()
        with self._signals():
            try:
                if self._reload_dirs:
                    self._watcher = Watcher(self._reload_dirs, first=self._leave_all)
                    self._on_readable(self._watcher.read_end, self._on_change)
                while self._status is None:
                    if self._events:
                        self._handle(self._events.popleft())
                    else:
                        self._sleep()
                return self._status
            finally:
                self._close()

    def _handle(self, event: orders.Event) -> None:
        for action in self._state.handle(event, time.monotonic()):
            self._perform(action)
        if isinstance(event, orders.Exited):
            self._bury(self._children.pop(event.worker))

    def _sleep(self) -> None:
        deadline = self._state.next_deadline()
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = self._selector.select(timeout)
        # Signals first: one that was sent to the whole process group has reached the workers too,
        # and they must not be replaced for doing what it said.
        self._on_signals()
        for key, _ in ready:
            key.data()
        if not ready:
            self._events.append(orders.Tick())

    def _on_readable(self, source: int | socket.socket, callback: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, callback)

    def _close(self) -> None:
        """Leave nothing behind; workers still there after a bug of ours see the end of file."""
        if self._watcher:
            self._watcher.close()
        for child in self._children.values():
            child.control.close()
        self._listeners.close()
        self._selector.close()
        self._wake.close()
        self._wakeup.close()

    def _leave_all(self) -> None:
        """In a forked child: close what is the master's alone.

        One copy of the master's end of a channel would keep its worker from seeing its death.
        """
        self._leave_channels()
        self._listeners.abandon()

    def _leave_channels(self) -> None:
        for other in self._children.values():
            other.control.close()
        self._selector.close()
        self._wake.close()
        self._wakeup.close()
        if self._watcher:
            self._watcher.abandon()

    # Signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals written as bytes into a socket that the loop reads.

        The handlers do nothing, but they must be: process 1 gets no signal that has none.
        """
        self._wake.setblocking(False)
        self._wakeup.setblocking(False)
        self._on_readable(self._wake, self._on_signals)
        fd = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        handlers = {
            number: signal.signal(number, lambda *_: None) for number in (*EVENT_OF, signal.SIGCHLD)
        }
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd)

    def _on_signals(self) -> None:
        try:
            numbers = self._wake.recv(4096)
        except BlockingIOError:  # none has come
            return
        for number in numbers:
            if number in EVENT_OF:
                log.info("received %s", signal.Signals(number).name)
                self._events.append(EVENT_OF[number])
        # A byte of SIGCHLD may stand for many ends, and be lost when the buffer is full.
        for ended in process.reap():
            self._on_end(ended)

    def _on_end(self, ended: process.Ended) -> None:
        if self._watcher and ended.pid == self._watcher.pid:
            return  # its pipe says the same
        for child in self._children.values():
            if child.pid == ended.pid:
                self._hear(child)  # its last words are older than its end
                self._events.append(orders.Exited(child.id, ended.status, ended.signal))
                return
        log.debug("reaped a process that is none of ours pid=%d", ended.pid)

    # Workers

    def _spawn(self, order: orders.Spawn) -> None:
        """Fork a worker.

        Raises:
            OSError: the system, or the scoreboard, has no room for one more.
        """
        # A reload must not take what a worker that dies will need: one record for each slot.
        state = self._state
        reload = state.serving and order.generation == state.coming
        if len(self._free_records) <= (len(state.slots) if reload else 0):
            raise OSError(f"{len(self._children)} workers are there, many still draining")
        record = min(self._free_records)
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            seat = ipc.Seat(
                slot=order.slot,
                generation=order.generation,
                record=record,
                control=theirs.fileno(),
                listeners=self._listeners.for_slot(order.slot),
            )

            def first() -> None:
                ours.close()
                self._leave_channels()
                self._listeners.keep_only(order.slot)
                orphan.die_with_master(seat.control)

            try:
                pid = process.fork(lambda: self._entry(seat), first=first)
            except OSError:
                ours.close()
                raise
        child = Child(
            id=order.worker,
            slot=order.slot,
            generation=order.generation,
            record=record,
            pid=pid,
            control=ours,
        )
        self._free_records.remove(record)
        self._children[child.id] = child
        self._on_readable(ours, lambda: self._on_control(child))
        log.debug("forked a worker %s", child)

    def _on_control(self, child: Child) -> None:
        self._hear(child)
        if child.hung_up:
            self._selector.unregister(child.control)
            self._events.append(orders.HungUp(child.id))

    def _hear(self, child: Child) -> None:
        self._events.extend(orders.Said(child.id, message) for message in child.read())

    def _bury(self, child: Child) -> None:
        with contextlib.suppress(KeyError):  # it has hung up before
            self._selector.unregister(child.control)
        child.control.close()
        self._scoreboard.clear(child.record)
        self._free_records.add(child.record)

    def _on_change(self) -> None:
        assert self._watcher
        try:
            if self._watcher.changed():
                log.info("files have changed, reloading")
                self._events.append(orders.Reload())
        except EOFError:
            log.error("file watcher died, changes are not seen any more pid=%d", self._watcher.pid)
            self._selector.unregister(self._watcher.read_end)
            self._watcher.close()
            self._watcher = None

    # Actions

    def _perform(self, action: orders.Action) -> None:
        match action:
            case orders.Spawn():
                try:
                    self._spawn(action)
                except OSError as error:
                    self._events.append(orders.NotForked(action.worker, str(error)))
            case orders.Tell(worker, message):
                if child := self._children.get(worker):  # else its NotForked is on the way
                    if isinstance(message, ipc.Go):
                        self._listeners.listen(child.slot)
                    child.tell(message)
            case orders.Kill(worker):
                if child := self._children.get(worker):
                    process.kill(child.pid)
            case orders.Serving(generation, after_s):
                log.info(
                    "serving on %s workers=%d generation=%d after_s=%.2f",
                    ", ".join(self._listeners.names),
                    len(self._state.slots),
                    generation,
                    after_s,
                )
            case orders.StopListening():
                self._listeners.close()
            case orders.Note():
                self._note(action)
            case orders.Finish(status):
                self._status = status

    def _note(self, note: orders.Note) -> None:
        parts = [note.text]
        if note.worker is not None and (child := self._children.get(note.worker)):
            parts.append(str(child))
        for name, value in note.fields.items():
            parts.append(f"{name}={value:.1f}" if isinstance(value, float) else f"{name}={value}")
        if not log.isEnabledFor(level := LEVEL_OF[note.level]):
            return
        text = " ".join(parts)
        record = log.makeRecord(log.name, level, __file__, 0, "%s", (text,), None, "_note")
        record.exc_text = note.trace or None  # a traceback, though the exception was elsewhere
        log.handle(record)
