"""A kernel in memory for the supervisor: forks, pipes, kills and time. Knows no real process."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pounce import ipc
from pounce.errors import EXIT_LOAD
from pounce.supervisor.crew import GRACE_S
from pounce.supervisor.orders import (
    Abort,
    Action,
    Added,
    AddSlot,
    Adopt,
    CloseSlot,
    Event,
    Exited,
    Finish,
    HungUp,
    Kill,
    Load,
    Loaded,
    LoadFailed,
    NotAdded,
    Note,
    NotForked,
    Outcome,
    Probe,
    Queued,
    Release,
    Said,
    Serving,
    Spawn,
    Steer,
    StopListening,
    Tell,
    TemplateGone,
    Tick,
    Unload,
)
from pounce.supervisor.state import Supervisor


@dataclass
class Process:
    """A worker as it really is, whatever the supervisor believes."""

    worker: int
    slot: int
    generation: int
    said_ready: bool = False
    accepting: bool = False
    lame: bool = False
    aborted: bool = False
    killed: bool = False
    closed: bool = False  # its listeners
    inbox: list[ipc.ToWorker] = field(default_factory=list)

    @property
    def may_accept(self) -> bool:
        return self.inbox[-1:] == [ipc.Go()] and not self.accepting

    @property
    def drains(self) -> bool:
        return any(isinstance(message, ipc.Drain) for message in self.inbox)

    @property
    def serves(self) -> bool:
        return self.accepting and not (self.drains or self.aborted or self.killed)


class FakeKernel:
    """Feeds a supervisor and performs what it asks for, checking at every step what must hold."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.now = 1000.0
        self.processes: dict[int, Process] = {}
        self.history: list[str] = []
        self.notes: list[Note] = []
        self.served: list[int] = []  # generations, in the order in which they took over
        self.spawned = 0
        self.has_listeners = True
        self.status: int | None = None
        self.can_fork = True
        self.templates: dict[int, bool] = {}  # generation: is it loaded?
        self.slots = len(supervisor.slots)  # with listeners
        self.can_bind = True
        self.waiting = 0  # in each queue
        self.out: frozenset[int] = frozenset()
        self.adopted: dict[int, int] = {}  # slot: worker
        self.outcomes: list[tuple[int, bool]] = []  # of reloads
        self.feed(Tick())

    def feed(self, event: Event) -> list[Action]:
        done: list[Action] = []
        events = [event]
        while events:
            event = events.pop(0)
            self.history.append(f"{self.now:.1f} {event}")
            if isinstance(event, Exited):
                del self.processes[event.worker]
                kept = {at: id for at, id in self.adopted.items() if id != event.worker}
                self.adopted = kept
            actions = self.supervisor.handle(event, self.now)
            events += [failure for action in actions if (failure := self._perform(action))]
            done += actions
        self._check()
        return done

    def _perform(self, action: Action) -> Event | None:
        self.history.append(f"    {action}")
        match action:
            case Spawn(worker, slot, generation):
                if not self.can_fork:
                    return NotForked(worker, "no room")
                if self.supervisor.templates:
                    assert self.templates.get(generation), f"no template\n{self.story}"
                self.spawned += 1
                assert worker not in self.processes, self.story
                self.processes[worker] = Process(worker, slot, generation)
            case Tell(worker, message):
                if process := self.processes.get(worker):
                    process.inbox.append(message)
                    if message == ipc.Pause():
                        process.accepting = False
            case Probe(slot):
                return Queued(slot, self.waiting)
            case AddSlot():
                if not self.can_bind:
                    return NotAdded("no room")
                self.slots += 1
                return Added()
            case CloseSlot(slot):
                self.slots -= 1
                self.out -= {slot}
                assert slot == self.slots > 0, self.story
                for process in self.processes.values():
                    assert process.slot != slot or process.closed, self.story
            case Steer(weights):
                chosen = {slot for slot, _ in weights}
                assert chosen <= set(range(self.slots)), self.story
                self.out = frozenset(range(self.slots)) - chosen if weights else frozenset()
            case Adopt(worker, slot):
                assert slot not in self.adopted, self.story
                self.adopted[slot] = worker
            case Release(worker, slot):
                assert self.adopted.pop(slot) == worker, self.story
            case Outcome(generation, why):
                self.outcomes.append((generation, why == ""))
            case Kill(worker):
                if process := self.processes.get(worker):
                    assert not process.killed, f"killed twice\n{self.story}"
                    process.killed = True
            case Abort(worker):
                self.processes[worker].aborted = True
            case Load(generation):
                assert generation not in self.templates, self.story
                self.templates[generation] = False
            case Unload(generation):
                assert self.templates.pop(generation, None) is not None, self.story
            case Serving(generation):
                self.served.append(generation)
            case StopListening():
                assert self.has_listeners, self.story
                self.has_listeners = False
            case Note():
                self.notes.append(action)
            case Finish(status):
                assert self.status is None, self.story
                assert not self.processes, f"left behind\n{self.story}"
                assert not self.templates, f"templates left behind\n{self.story}"
                self.status = status
        return None

    def _check(self) -> None:
        deadline = self.supervisor.next_deadline()
        assert deadline is None or deadline > self.now, f"the loop would spin\n{self.story}"
        assert set(self.supervisor.workers) == set(self.processes), f"forgotten\n{self.story}"
        for worker in self.adopted.values():
            gone = worker not in self.processes or self.processes[worker].drains
            assert not gone, f"adopted by one who goes\n{self.story}"

    @property
    def story(self) -> str:
        return "\n".join(self.history)

    @property
    def serving(self) -> list[Process]:
        return [process for process in self.processes.values() if process.serves]

    def listens(self) -> bool:
        return self.has_listeners

    def lives(self, process: Process) -> bool:
        return not process.killed

    def by_slot(self, slot: int, *, generation: int) -> Process:
        """The youngest process of a slot and generation."""
        return [
            process
            for process in self.processes.values()
            if (process.slot, process.generation) == (slot, generation)
        ][-1]

    def pass_time(self, seconds: float) -> None:
        """Let time go by, with a Tick at each deadline, as the runner does it."""
        target = self.now + seconds
        while (self.supervisor.next_deadline() or math.inf) <= target:
            self.now = self.supervisor.next_deadline() or target
            self.feed(Tick())
        self.now = target

    # What templates do

    def load(self, generation: int) -> None:
        self.templates[generation] = True
        self.feed(Loaded(generation))

    def fail_to_load(self, generation: int) -> None:
        del self.templates[generation]
        self.feed(LoadFailed(generation, EXIT_LOAD, "no module named shop", "Traceback"))

    def lose_template(self, generation: int) -> None:
        del self.templates[generation]
        self.feed(TemplateGone(generation))

    def load_all(self) -> None:
        for generation, loaded in [*self.templates.items()]:
            if not loaded:
                self.load(generation)

    # What processes do

    def boot(self, process: Process) -> None:
        process.said_ready = True
        self.feed(Said(process.worker, ipc.Ready()))

    def accept(self, process: Process) -> None:
        assert process.may_accept, self.story
        process.accepting = True
        self.feed(Said(process.worker, ipc.Accepting()))

    def fail(self, process: Process, code: int = EXIT_LOAD) -> None:
        self.feed(Said(process.worker, ipc.Failed(code, "no module named shop", "Traceback")))
        self.feed(Exited(process.worker, code))

    def beat(
        self, process: Process, *, requests: int = 0, memory: int = 0, messages: int = 0
    ) -> None:
        websockets = ipc.WebSockets(messages_received=messages)
        beat = ipc.Heartbeat(0.25, 1, 1, requests, 0, memory, websockets)
        self.feed(Said(process.worker, beat))

    def drain(self, process: Process) -> None:
        """It has been told to go, or (SIGTERM from a stranger) goes by itself."""
        process.closed = True
        self.feed(Said(process.worker, ipc.Draining(1, 0)))
        self.feed(Said(process.worker, ipc.Drained(0)))
        self.feed(HungUp(process.worker))
        self.feed(Exited(process.worker, 0))

    def crash(self, process: Process, *, signal: str = "SIGKILL") -> None:
        self.feed(HungUp(process.worker))
        self.feed(Exited(process.worker, None, signal))

    def reap_killed(self) -> None:
        for process in [*self.processes.values()]:
            if process.killed or process.aborted:
                self.feed(Exited(process.worker, None, "SIGKILL"))

    # The easy life

    def boot_all(self) -> None:
        """Everything that can load, boot or accept does."""
        self.load_all()
        for process in [*self.processes.values()]:
            if not (process.said_ready or process.drains or process.killed or process.aborted):
                self.boot(process)
        for process in [*self.processes.values()]:
            if process.may_accept and not process.killed and not process.aborted:
                self.accept(process)

    def drain_all(self) -> None:
        for process in [*self.processes.values()]:
            if process.drains and not process.killed and not process.aborted:
                self.drain(process)

    def come_to_rest(self) -> None:
        """Let all go well until nothing happens any more."""
        before = None
        while before != (before := (self.spawned, len(self.processes), len(self.served))):
            self.pass_time(40.0 + GRACE_S)  # longer than any back-off and any drain
            self.reap_killed()
            self.boot_all()
            self.drain_all()
            self.reap_killed()
