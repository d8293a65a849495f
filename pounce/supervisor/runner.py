"""The master's loop: signals, pipes and deadlines become events, actions are performed. Decides
nothing; that is state.py.

It never imports the application, starts no thread and sleeps until the next deadline.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from pounce import ipc
from pounce.listeners import Listeners
from pounce.supervisor import orders, process, watch
from pounce.supervisor.state import Supervisor

log = logging.getLogger("pounce")

WorkerEntry = Callable[[ipc.Seat], int]

EVENT_OF: Final[Mapping[signal.Signals, orders.Event]] = {
    signal.SIGTERM: orders.Stop(),
    signal.SIGINT: orders.Stop(),
    signal.SIGHUP: orders.Reload(),
}
LEVEL_OF: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Scoreboard(Protocol):
    """What the runner does with the scoreboard: one record for each worker process."""

    records: int

    def clear(self, record: int) -> None: ...


@dataclass(slots=True)
class _Child:
    """A worker process as the master holds it."""

    id: int
    slot: int
    generation: int
    pid: int
    record: int
    control: socket.socket
    reader: ipc.LineReader = field(default_factory=ipc.LineReader)


class Runner:
    """One server: its slots, its workers and its listeners, from start to end.

    Args:
        entry: what a forked worker runs; its return value is the exit status.
        listeners: bound; the runner listens when the first workers are ready, and closes them.
        slots: number of workers.
        scoreboard: with records for all slots, those of generations that drain included.
        start_timeout: seconds from fork to Ready, and from Go to Accepting.
        shutdown_timeout: seconds that a stopping worker may finish its requests in.
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
        self._children: dict[int, _Child] = {}
        self._free_records = set(range(scoreboard.records))
        self._events: deque[orders.Event] = deque()
        self._status: int | None = None
        self._watcher: _Watcher | None = None

    def run(self) -> int:
        """Serve until told to stop; the exit status. Only in the main thread (signals)."""
        self._selector = selectors.DefaultSelector()
        with self._signals():
            try:
                if self._reload_dirs:
                    self._watch()
                self._events.append(orders.Tick())
                while self._status is None:
                    self._work()
                    if self._status is None:
                        self._sleep()
                return self._status
            finally:
                self._close()

    # The loop

    def _work(self) -> None:
        while self._events:
            event = self._events.popleft()
            for action in self._state.handle(event, time.monotonic()):
                self._perform(action)
            if isinstance(event, orders.Exited):
                self._bury(self._children[event.worker])

    def _sleep(self) -> None:
        deadline = self._state.next_deadline()
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = self._selector.select(timeout)
        for key, _ in ready:
            key.data()
        if not ready:
            self._events.append(orders.Tick())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals arrive as bytes in a socket that the loop reads.

        The handlers do nothing, but they must exist: as process 1 we would not be told otherwise.
        """
        self._wake, wakeup = socket.socketpair()
        self._wakeup = wakeup
        self._wake.setblocking(False)
        wakeup.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, self._on_signal)
        wakeup_before = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, lambda *_: None) for number in (*EVENT_OF, signal.SIGCHLD)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            self._wake.close()
            wakeup.close()

    def _on_signal(self) -> None:
        arrived: set[int] = set()
        with contextlib.suppress(BlockingIOError):
            for number in self._wake.recv(4096):
                if number in (signal.SIGTERM, signal.SIGINT) or number not in arrived:
                    arrived.add(number)
                    self._on_number(signal.Signals(number))

    def _on_number(self, number: signal.Signals) -> None:
        if number is signal.SIGCHLD:
            for ended in process.reap():
                self._on_end(ended)
        elif number in EVENT_OF:
            log.info("received %s", number.name)
            self._events.append(EVENT_OF[number])

    # Children

    def _spawn(self, order: orders.Spawn) -> None:
        if not self._free_records:
            raise OSError("too many workers are still draining")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        theirs.setblocking(False)
        record = min(self._free_records)
        seat = ipc.Seat(
            slot=order.slot,
            generation=order.generation,
            record=record,
            control=theirs.fileno(),
            listeners=self._listeners.for_slot(order.slot),
        )

        def first() -> None:
            ours.close()
            self._forget_all()
            self._listeners.keep_only(order.slot)
            process.die_with_master(seat.control)

        with theirs:
            try:
                pid = process.fork(lambda: self._entry(seat), first=first)
            except OSError:
                ours.close()
                raise
        self._free_records.discard(record)
        child = _Child(order.worker, order.slot, order.generation, pid, record, ours)
        self._children[order.worker] = child
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._on_control(child))
        log.debug("forked a worker slot=%d pid=%d generation=%d", child.slot, pid, child.generation)

    def _forget_all(self) -> None:
        """In a forked child: close every descriptor that is the master's alone.

        One copy of the master's end of a channel would keep its worker from seeing its death.
        """
        for other in self._children.values():
            other.control.close()
        self._selector.close()
        self._wake.close()
        self._wakeup.close()
        if self._watcher:
            os.close(self._watcher.read_end)

    def _on_control(self, child: _Child) -> None:
        if not self._read(child):
            self._selector.unregister(child.control)
            self._events.append(orders.HungUp(child.id))

    def _read(self, child: _Child) -> bool:
        """Events from all that a worker has sent; False at the end of file."""
        while True:
            try:
                data = child.control.recv(65536)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            for line in child.reader.feed(data):
                self._on_line(child, line)

    def _on_line(self, child: _Child, line: bytes) -> None:
        try:
            message = ipc.decode(line)
        except ValueError as error:
            log.warning("worker sent nonsense, ignoring it pid=%d %s", child.pid, error)
            return
        if isinstance(message, ipc.ToMaster):
            self._events.append(orders.Said(child.id, message))
        else:
            log.warning("worker sent an order, ignoring it pid=%d %r", child.pid, message)

    def _on_end(self, ended: process.Ended) -> None:
        if self._watcher and ended.pid == self._watcher.pid:
            log.error("file watcher died, changes are not noticed any more pid=%d", ended.pid)
            self._unwatch()
            return
        for child in self._children.values():
            if child.pid == ended.pid:
                self._read(child)  # its last words are older than its end
                self._events.append(orders.Exited(child.id, ended.status, ended.signal))
                return
        log.debug("reaped a process that is not ours pid=%d", ended.pid)

    def _bury(self, child: _Child) -> None:
        del self._children[child.id]
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.control)
        child.control.close()
        self._scoreboard.clear(child.record)
        self._free_records.add(child.record)

    # Actions

    def _perform(self, action: orders.Action) -> None:
        match action:
            case orders.Spawn():
                try:
                    self._spawn(action)
                except OSError as error:
                    self._events.append(orders.NotForked(action.worker, str(error)))
            case orders.Tell(worker, message):
                self._tell(worker, message)
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
                self._log(action)
            case orders.Finish(status):
                self._status = status

    def _tell(self, worker: int, message: ipc.ToWorker) -> None:
        if not (child := self._children.get(worker)):
            return  # not forked; the event that says so is on its way
        if isinstance(message, ipc.Go):
            self._listeners.listen(child.slot)
        try:
            child.control.send(ipc.encode(message))
        except OSError as error:
            # It is dead, which SIGCHLD tells, or deaf, which its deadline ends.
            log.debug("worker cannot be told pid=%d %r %s", child.pid, message, error)

    def _log(self, note: orders.Note) -> None:
        parts: list[str] = []
        if note.worker is not None and (child := self._children.get(note.worker)):
            parts.append(f"slot={child.slot} pid={child.pid} generation={child.generation}")
        for name, value in note.fields.items():
            parts.append(f"{name}={value:.1f}" if isinstance(value, float) else f"{name}={value}")
        log.log(LEVEL_OF[note.level], "%s", " ".join([note.text, *parts]))

    # The file watcher

    def _watch(self) -> None:
        read_end, write_end = os.pipe()
        master = os.getpid()

        def first() -> None:
            os.close(read_end)
            self._forget_all()
            self._listeners.abandon()

        def main() -> int:
            return watch.watch(self._reload_dirs, write_end, master=master)

        pid = process.fork(main, first=first)
        os.close(write_end)
        os.set_blocking(read_end, False)
        self._watcher = _Watcher(pid, read_end)
        self._selector.register(read_end, selectors.EVENT_READ, self._on_change)

    def _on_change(self) -> None:
        assert self._watcher
        try:
            data = os.read(self._watcher.read_end, 4096)
        except BlockingIOError:
            return
        if data:
            log.info("files changed, reloading")
            self._events.append(orders.Reload())
        else:
            self._selector.unregister(self._watcher.read_end)  # SIGCHLD says the rest

    def _unwatch(self) -> None:
        if watcher := self._watcher:
            self._watcher = None
            with contextlib.suppress(KeyError):
                self._selector.unregister(watcher.read_end)
            os.close(watcher.read_end)

    def _close(self) -> None:
        """Leave nothing behind; workers still there after a bug of ours see the end of file."""
        if watcher := self._watcher:
            process.kill(watcher.pid)
            self._unwatch()
            os.waitpid(watcher.pid, 0)
        for child in self._children.values():
            child.control.close()
        self._listeners.close()
        self._selector.close()


@dataclass(frozen=True, slots=True)
class _Watcher:
    pid: int
    read_end: int
