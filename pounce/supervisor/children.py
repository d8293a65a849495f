"""The worker processes as the master holds them: forked, heard, told, buried. Decides nothing.

What they say and how they end becomes events; who they should be is decided in state.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pounce import ipc, orphan
from pounce import log as logs
from pounce.listeners import Listeners
from pounce.supervisor import orders, process
from pounce.supervisor.child import Child
from pounce.supervisor.crew import Policy
from pounce.supervisor.oom import OomKills
from pounce.supervisor.templates import Preload, Templates
from pounce.titles import set_title

log = logging.getLogger("pounce")

WorkerEntry = Callable[[ipc.Seat], int]
TRACE_LIMIT = 64 * 1024  # bytes of stacks that are read


class Scoreboard(Protocol):
    """What is needed of the scoreboard: one record for each worker process."""

    @property
    def records(self) -> int: ...
    def clear(self, record: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What the workers of one generation are made of, and the settings that come with it.

    Attributes:
        entry: what a worker that the master forks runs; it returns the exit status.
        preload: None lets every worker import the application by itself.
        policy: for the supervisor.
        slots: number of workers; 0 for as many as there are.
    """

    entry: WorkerEntry
    preload: Preload | None
    policy: Policy
    slots: int


class Children:
    """Every worker process, from the order to fork it until it has been reaped.

    Args:
        listeners: the master's.
        scoreboard: with two records for each slot, or no reload can succeed, and more for what
            still drains of older generations.
        tell: takes the events.
        leave: in a forked child, closes what is the master's beside children and listeners.
        selector: where the channels are watched.
    """

    def __init__(
        self,
        *,
        listeners: Listeners,
        scoreboard: Scoreboard,
        tell: Callable[[orders.Event], None],
        leave: Callable[[], None],
        selector: selectors.BaseSelector,
    ) -> None:
        self._listeners = listeners
        self._scoreboard = scoreboard
        self._tell = tell
        self._leave = leave
        self._selector = selector
        self._free_records = set(range(scoreboard.records))
        self._templates = Templates(tell, selector)
        self._by_id: dict[int, Child] = {}
        self._oom = OomKills()

    def __iter__(self) -> Iterator[Child]:
        return iter(self._by_id.values())

    def get(self, worker: int) -> Child | None:
        return self._by_id.get(worker)

    def template_pid(self, generation: int) -> int:
        """0: the generation has none."""
        template = self._templates.of(generation)
        return template.pid if template else 0

    def load(self, generation: int, plan: Plan) -> None:
        """Starts a template; answered by Loaded or LoadFailed."""
        assert plan.preload is not None  # or the state would not ask
        self._templates.load(generation, plan.preload, first=self.leave_all)

    def unload(self, generation: int) -> None:
        self._templates.unload(generation)

    def spawn(self, order: orders.Spawn, plan: Plan, *, reserve: int) -> None:
        """Forks a worker, or has its template do so; answered by what it says, or NotForked.

        Args:
            reserve: records that must stay free for others.
        """
        try:
            self._spawn(order, plan, reserve)
        except OSError as error:
            self._tell(orders.NotForked(order.worker, str(error)))

    def _spawn(self, order: orders.Spawn, plan: Plan, reserve: int) -> None:
        if len(self._free_records) <= reserve:
            raise OSError(f"{len(self._by_id)} workers are there, many still draining")
        record = min(self._free_records)
        with contextlib.ExitStack() as unless_forked:
            ours, theirs = socket.socketpair()
            unless_forked.enter_context(ours)
            trace = _anonymous_file()
            unless_forked.callback(_close, trace)
            ours.setblocking(False)
            theirs.setblocking(False)
            with theirs:
                seat = ipc.Seat(
                    slot=order.slot,
                    generation=order.generation,
                    record=record,
                    control=theirs.fileno(),
                    listeners=self._listeners.for_slot(order.slot),
                    trace=trace,
                )
                pid = self._fork(order, seat, plan, ours)
            unless_forked.pop_all()
        child = Child(
            id=order.worker,
            slot=order.slot,
            generation=order.generation,
            record=record,
            pid=pid,
            control=ours,
            trace=trace,
        )
        self._free_records.remove(record)
        self._by_id[child.id] = child
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._on_control(child))

    def _fork(self, order: orders.Spawn, seat: ipc.Seat, plan: Plan, ours: socket.socket) -> int:
        if template := self._templates.of(order.generation):
            template.fork(order.worker, seat)
            return 0  # it will tell

        def first() -> None:
            ours.close()
            self._leave_channels()
            self._listeners.keep_only(order.slot)
            set_title("worker", slot=order.slot, generation=order.generation)
            orphan.die_with_master(seat.control)

        pid = process.fork(lambda: plan.entry(seat), first=first)
        log.debug("forked a worker slot=%d pid=%d generation=%d", order.slot, pid, order.generation)
        return pid

    # What comes in

    def ended(self, ended: process.Ended) -> bool:
        """A process has been reaped; False when it was no worker."""
        for child in list(self._by_id.values()):
            if child.pid in (0, ended.pid):
                self._hear(child)  # its last words are older than its end
            if child.pid == ended.pid:
                hint = ""
                if ended.signal in ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL"):
                    self._show_stacks(child, ended.signal)
                elif ended.signal == "SIGKILL":
                    hint = "out of memory (oom_kill)" if self._oom.grew() else "out of memory?"
                self._tell(orders.Exited(child.id, ended.status, ended.signal, hint))
                return True
        return False

    def bury(self, worker: int) -> None:
        """Gives back what a reaped worker had."""
        child = self._by_id.pop(worker)
        with contextlib.suppress(KeyError):  # it has hung up before
            self._selector.unregister(child.control)
        child.control.close()
        _close(child.trace)
        self._scoreboard.clear(child.record)
        self._free_records.add(child.record)

    def _on_control(self, child: Child) -> None:
        self._hear(child)
        if child.hung_up:
            self._selector.unregister(child.control)
            if child.pid:
                self._tell(orders.HungUp(child.id))
            else:  # its template could not fork it, or it died before it could say a word
                self._tell(orders.NotForked(child.id, "it never came to life"))
                self.bury(child.id)

    def _hear(self, child: Child) -> None:
        for message in child.read():
            if isinstance(message, ipc.Hello):
                if child.pid or message.pid <= 0:
                    continue  # a signal to such a number would reach others
                child.pid = message.pid
                log.debug("forked a worker %s", child)
                if child.owed:
                    process.send(child.pid, child.owed)
            else:
                self._tell(orders.Said(child.id, message))

    def _show_stacks(self, child: Child, name: str) -> None:
        """What a worker that died of a fault has written down (faulthandler)."""
        with contextlib.suppress(OSError):
            text = os.pread(child.trace, TRACE_LIMIT, 0).decode("utf-8", "replace").strip()
            if text:
                logs.say_with(logging.ERROR, f"worker died of {name}, its stacks {child}", text)

    # What goes out

    def signal(self, worker: int, number: signal.Signals) -> None:
        """Sends a signal, now or once it is there to get one; SIGKILL does not wait for that."""
        child = self._by_id.get(worker)
        if child and not child.pid:
            self._hear(child)
        if child and child.pid:
            process.send(child.pid, number)
        elif child and number == signal.SIGKILL:
            # Its template does not get to it. Should it yet, the worker finds nobody to serve for.
            self._tell(orders.NotForked(worker, "its template did not get to it"))
            self.bury(worker)
        elif child:
            child.owed = number

    def adopt(self, worker: int, slot: int) -> None:
        """Has a worker serve the listeners of another slot too."""
        if child := self._by_id.get(worker):
            child.tell(ipc.Adopt(slot), self._listeners.for_slot(slot))

    # In a forked child

    def leave_all(self) -> None:
        """Close what is the master's alone.

        One copy of the master's end of a channel would keep its worker from seeing its death.
        """
        self._leave_channels()
        self._listeners.abandon()

    def _leave_channels(self) -> None:
        self.close()
        self._leave()

    def close(self) -> None:
        """All descriptors; workers that are there see the end of file."""
        for child in self._by_id.values():
            child.control.close()
            _close(child.trace)
        self._templates.close()


def _anonymous_file() -> int:
    """A file in memory without a name; -1 where the system has none."""
    try:
        return os.memfd_create("pounce-stacks")
    except (AttributeError, OSError):
        return -1


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
