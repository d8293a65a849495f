"""The master's loop: signals, pipes and deadlines become events, actions are performed. Decides
nothing; that is state.py.

It never imports the application, starts no thread and sleeps until the next deadline.
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pounce import __version__, ipc
from pounce import log as logs
from pounce.control_path import ControlSocket
from pounce.errors import PounceError
from pounce.listeners import Listeners
from pounce.supervisor import orders, process, steering
from pounce.supervisor.children import Children, Plan, Scoreboard
from pounce.supervisor.control import Control
from pounce.supervisor.desk import Desk
from pounce.supervisor.predecessor import Predecessor
from pounce.supervisor.signals import Signals
from pounce.supervisor.state import Supervisor
from pounce.supervisor.status import About
from pounce.supervisor.upgrade import UNDER_WAY, Command, Upgrades
from pounce.supervisor.watch import Watcher

log = logging.getLogger("pounce")

EVENT_OF: Final[Mapping[int, orders.Event]] = {
    signal.SIGTERM: orders.Stop(),
    signal.SIGINT: orders.Stop(interrupt=True),
    signal.SIGTTIN: orders.Scale(by=1),
    signal.SIGTTOU: orders.Scale(by=-1),
}
LEVEL_OF: Final[Mapping[orders.Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# select() that returns this much after its time: this process stood still (SIGSTOP, or the whole
# machine), and silence of the workers meanwhile says nothing about them.
OVERSLEPT_S: Final = 1.0


class Runner:
    """One server: its slots, its workers and its listeners, from start to end.

    Args:
        plan: what the first generation is made of.
        listeners: bound. Runner listens when the first workers are ready, and ends them.
        scoreboard: one record for each worker process; see Children.
        reread: the plan of the next generation, by the settings as they are now; raises PounceError
            where they are wrong. None: they never change.
        reload_dirs: reload when a Python file below them changes.
        control: what `pounce ctl` connects to.
        app: the application's name, for the status.
        command: how to start the next master at an upgrade; None: there can be none.
        predecessor: the master that we were started by at an upgrade.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        listeners: Listeners,
        scoreboard: Scoreboard,
        reread: Callable[[], Plan] | None = None,
        reload_dirs: Sequence[Path] = (),
        control: ControlSocket | None = None,
        app: str = "",
        command: Command | None = None,
        predecessor: Predecessor | None = None,
    ) -> None:
        self._listeners = listeners
        self._events: deque[orders.Event] = deque([orders.Tick()])
        self._reread = reread
        self._reload_dirs = reload_dirs
        self._newest = plan
        self._plans: dict[int, Plan] = {}  # by generation
        self.state = Supervisor(
            slots=listeners.slots,  # more than planned where the master before had more
            policy=plan.policy,
            templates=plan.preload is not None,
            steerable=listeners.has_groups and steering.WORKS,
        )
        self._selector = selectors.DefaultSelector()
        self.children = Children(
            listeners=listeners,
            scoreboard=scoreboard,
            tell=self._events.append,
            leave=self._leave,
            selector=self._selector,
        )
        self._signals = Signals()
        self.upgrades = Upgrades(
            command,
            listeners=listeners,
            tell=self._events.append,
            selector=self._selector,
            handlers=self._signals.before,
        )
        self._predecessor = predecessor
        self._app = app
        self._control: Control | None = None
        self.attend(control)
        self._steered = False
        self._status: int | None = None
        self._watcher: Watcher | None = None

    def attend(self, control: ControlSocket | None) -> None:
        """Answer there from now on."""
        if control:
            self._control = Control(control, self._desk(self._app), self._selector)

    def _desk(self, app: str) -> Desk:
        return Desk(
            about=About(
                app=app,
                version=__version__,
                pid=os.getpid(),
                addresses=tuple(self._listeners.names),
                started_at=time.time(),
                begun_at=time.monotonic(),
            ),
            state=self.state,
            children=self.children,
            tell=self._events.append,
            reload=self.reload,
            upgrade=self.upgrade,
        )

    def run(self) -> int:
        """Serve until told to stop; the exit status. Once, and in the main thread (signals)."""
        with self._signals.installed():
            self._on_readable(self._signals.wake, self._on_signals)
            try:
                if self._reload_dirs:
                    self._watcher = Watcher(self._reload_dirs, first=self.children.leave_all)
                    self._on_readable(self._watcher.read_end, self._on_change)
                if self._predecessor:
                    self._predecessor.unblock_signals()
                    self._predecessor.watch(self._selector, self._on_predecessor_gone)
                while self._status is None:
                    if self._events:
                        self._handle(self._events.popleft())
                    else:
                        self._sleep()
                return self._status
            finally:
                self._close()

    def _handle(self, event: orders.Event) -> None:
        match event:
            case orders.Stop():
                self.upgrades.cancel()
            case orders.Scale() if self.upgrades.under_way:
                log.warning("%s, the number of workers stays", UNDER_WAY)
                return
        for action in self.state.handle(event, time.monotonic()):
            self._perform(action)
        if isinstance(event, orders.Exited):
            self.children.bury(event.worker)
        if self._control and self.state.ending:
            self._control.stops()

    def _sleep(self) -> None:
        begun = time.monotonic()
        deadline = min(self.state.next_deadline() or math.inf, self.upgrades.due)
        timeout = None if deadline == math.inf else max(0.0, deadline - begun)
        ready = self._selector.select(timeout)
        slept_s = time.monotonic() - begun
        if timeout is not None and slept_s > timeout + OVERSLEPT_S:
            # Since when nobody knows, so none of it is held against anybody.
            log.warning("stood still, taking nobody for dead because of it for_s=%.1f", slept_s)
            self._events.append(orders.Slept(slept_s))
        # Signals first: one that was sent to the whole process group has reached the workers too,
        # and they must not be replaced for doing what it said.
        self._on_signals()
        for key, _ in ready:
            key.data()
        self.upgrades.expire(time.monotonic(), grace_s=self.state.policy.shutdown_timeout)
        if not ready or time.monotonic() >= deadline:  # whoever talks for ever stops no clock
            self._events.append(orders.Tick())

    def _on_readable(self, source: int | socket.socket, callback: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, callback)

    def _close(self) -> None:
        """Leave nothing behind; workers still there after a bug of ours see the end of file."""
        if self._watcher:
            self._watcher.close()
        self.children.close()
        self._listeners.close()
        if self._control:
            self._control.close()
        self._close_to_masters()
        self._selector.close()

    def _leave(self) -> None:
        """In a forked child."""
        self._selector.close()
        self._signals.close()
        if self._watcher:
            self._watcher.abandon()
        if self._control:
            self._control.abandon()
        self._close_to_masters()

    def _close_to_masters(self) -> None:
        self.upgrades.close()
        if self._predecessor:
            self._predecessor.close()

    # Signals

    def _on_signals(self) -> None:
        for number in self._signals.read():
            if number == signal.SIGCHLD:
                continue
            log.info("received %s", signal.Signals(number).name)
            match number:
                case signal.SIGHUP:
                    self.reload()
                case signal.SIGUSR1:
                    self._reopen_logs()
                case signal.SIGUSR2:
                    self.upgrade()
                case _ if number in EVENT_OF:
                    self._events.append(EVENT_OF[number])
        # A byte of SIGCHLD may stand for many ends, and be lost when the buffer is full.
        for ended in process.reap():
            if self._watcher and ended.pid == self._watcher.pid:
                continue  # its pipe says the same
            if not self.children.ended(ended) and not self.upgrades.ended(ended):
                log.debug("reaped a process that is none of ours pid=%d", ended.pid)

    def reload(self) -> str:
        """Asks for a new generation, by the settings as they are now; "" or why there is none."""
        if self.upgrades.under_way:
            log.warning("%s, nothing is reloaded", UNDER_WAY)
            return UNDER_WAY
        plan = self._newest
        if self._reread:
            try:
                plan = self._reread()
            except PounceError as error:
                log.error("settings are wrong, nothing is reloaded: %s", error)
                return str(error)
        # A number of workers that was changed by hand stays, unless the settings say a new one.
        slots = plan.slots if plan.slots != self._plan_of(self.state.serving).slots else 0
        self._newest = plan
        self._events.append(orders.Reload(plan.policy, slots))
        return ""

    def upgrade(self) -> str:
        """Begins an upgrade: another master in place of this one; "" or why there is none."""
        if self.state.ending:
            why = "the server stops"
        elif self.state.coming:
            why = "a reload is under way" if self.state.serving else "the server does not serve yet"
        else:
            # Once for the import, and once for the workers.
            limit_s = 2 * self.state.policy.start_timeout
            why = self.upgrades.begin(time.monotonic(), limit_s=limit_s)
        if why:
            log.warning("no upgrade: %s", why)
        return why

    def _on_predecessor_gone(self) -> None:
        # It may have left the kernel a choice of its own, and more slots than are planned.
        self._steer(anew=True)
        if self.state.active == self._listeners.slots > self._newest.slots:
            self._events.append(orders.Scale(to=self._newest.slots))

    def _reopen_logs(self) -> None:
        logs.reopen()
        for child in self.children:
            child.tell(ipc.ReopenLogs())

    def _on_change(self) -> None:
        assert self._watcher
        try:
            if self._watcher.changed():
                log.info("files have changed, reloading")
                self.reload()
        except EOFError:
            log.error("file watcher died, changes are not seen any more pid=%d", self._watcher.pid)
            self._selector.unregister(self._watcher.read_end)
            self._watcher.close()
            self._watcher = None

    # Actions

    def _plan_of(self, generation: int) -> Plan:
        self._plans = {at: plan for at, plan in self._plans.items() if at >= self.state.serving}
        return self._plans.setdefault(generation, self._newest)

    def _perform(self, action: orders.Action) -> None:
        match action:
            case orders.Spawn(_, _, generation):
                # A reload must not take what a worker that dies will need.
                state = self.state
                is_reload = state.serving and generation == state.coming
                reserve = len(state.slots) if is_reload else 0
                self.children.spawn(action, self._plan_of(generation), reserve=reserve)
            case orders.Load(generation):
                self.children.load(generation, self._plan_of(generation))
            case orders.Unload(generation):
                self.children.unload(generation)
            case orders.Tell(worker, message):
                if child := self.children.get(worker):  # else its NotForked is on the way
                    if isinstance(message, ipc.Go):
                        self._listeners.listen(child.slot)
                        self._steer()  # a program does not know who has joined since
                    child.tell(message)
            case orders.Terminate(worker):
                self.children.signal(worker, signal.SIGTERM)
            case orders.Ask(worker):
                self.children.signal(worker, signal.SIGQUIT)
            case orders.Abort(worker):
                self.children.signal(worker, signal.SIGABRT)
            case orders.Kill(worker):
                self.children.signal(worker, signal.SIGKILL)
            case orders.Serving(generation, after_s):
                log.info(
                    "serving on %s workers=%d generation=%d after_s=%.2f",
                    ", ".join(self._listeners.names),
                    self.state.active,
                    generation,
                    after_s,
                )
                if self._predecessor:
                    self._predecessor.serving()
            case orders.Outcome(generation, why):
                if self._control:
                    self._control.outcome(generation, why)
            case orders.StopListening():
                self._listeners.close()
            case orders.Note():
                self._note(action)
            case orders.Finish(status):
                self._status = status
            case _:
                self._perform_on_listeners(action)

    def _perform_on_listeners(self, action: orders.Action) -> None:
        match action:
            case orders.Probe(slot):
                self._events.append(orders.Queued(slot, self._listeners.waiting(slot)))
            case orders.AddSlot():
                try:
                    self._listeners.add_slot()
                except OSError as error:
                    self._events.append(orders.NotAdded(str(error)))
                else:
                    self._events.append(orders.Added())
            case orders.CloseSlot():
                self._listeners.close_slot()
                self._steer()
            case orders.Steer():
                self._steer()
            case orders.Adopt(worker, slot):
                self.children.adopt(worker, slot)
            case orders.Release(worker, slot):
                if child := self.children.get(worker):
                    child.tell(ipc.Release(slot))

    def _steer(self, *, anew: bool = False) -> None:
        """Tells the kernel what the state wants of it, now that slots have come, gone, stalled."""
        wanted = self.state.weights
        if not (wanted or self._steered or anew):
            return
        self._steered = bool(wanted)
        try:
            for member, places in self._listeners.groups:
                chosen = [(places[slot], weight) for slot, weight in wanted if slot in places]
                steering.steer(member, chosen)
        except (OSError, ValueError) as error:
            log.warning("kernel cannot be told where connections go error=%s", error)
        else:
            log.debug("new connections go to slots %s", wanted or "by the kernel's hash")

    def _note(self, note: orders.Note) -> None:
        parts = [note.text]
        if note.worker is not None and (child := self.children.get(note.worker)):
            parts.append(str(child))
        parts += [orders.shown(name, value) for name, value in note.fields.items()]
        logs.say_with(LEVEL_OF[note.level], " ".join(parts), note.trace)
