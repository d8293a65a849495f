"""Slots and generations: who is born, told, retired and killed, and when. Knows no process, no
pipe and no clock.

Events go in, actions come out. Each event is first noted (a worker moves through NEXT_STAGE), then
everything is settled: the workers there are, are compared with the workers there should be, and
the difference is asked for. A reload is "another generation is wanted", a stop is "nobody is
wanted": no list of steps that an ill-timed signal could leave half done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pounce import ipc
from pounce.errors import EXIT_BOOT, EXIT_OK
from pounce.supervisor.crew import (
    BACK_OFF_LIMIT_S,
    BACK_OFF_S,
    BOOTING_DRAIN_S,
    GOOD_LIFE_S,
    GRACE_S,
    HURRY_S,
    RELOAD_SPACING_S,
    Ending,
    Slot,
    Worker,
)
from pounce.supervisor.orders import (
    Action,
    Event,
    Exited,
    Finish,
    HungUp,
    Kill,
    Level,
    Load,
    Loaded,
    LoadFailed,
    Note,
    NotForked,
    Reload,
    Said,
    Serving,
    Spawn,
    Stop,
    StopListening,
    Tell,
    TemplateGone,
    Unload,
)
from pounce.supervisor.stages import NEXT_STAGE, STAYING, Cue, Stage


class Supervisor:
    """The master's decisions. One event at a time; `now` is from one monotonic clock."""

    def __init__(
        self,
        *,
        slots: int,
        start_timeout: float,
        shutdown_timeout: float,
        templates: bool = False,
    ) -> None:
        self.start_timeout = start_timeout
        self.shutdown_timeout = shutdown_timeout
        self.workers: dict[int, Worker] = {}
        self.slots = [Slot() for _ in range(slots)]
        self.serving = 0  # the generation that serves; 0: none yet
        self.coming = 0  # the generation that is being started; 0: none
        self.newest = 0
        self.templates = templates
        self.loaded: set[int] = set()  # generations with a template, loading ones included
        self.loading_until = math.inf
        self.ending: Ending | None = None
        self.listening = True
        self.finished = False
        self._reload_asked = True  # the start is the first reload
        self._reload_from = -math.inf
        self._begun_at = -math.inf
        self._next_id = 1
        self._actions: list[Action] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """What to do now that `event` has happened. Nothing any more after Finish."""
        if self.finished:
            return []
        match event:
            case Said(worker, ipc.Heartbeat() as heartbeat):
                self._beat(worker, heartbeat, now)
                return []  # nothing that would have to be settled, and by far the most frequent
            case Said(worker, message):
                self._hear(worker, message, now)
            case HungUp(worker):
                self._cue(worker, Cue.LEAVE, now)
            case Exited(worker, status, signal):
                self._bury(worker, status, signal, now)
            case NotForked(worker, why):
                self._not_forked(worker, why, now)
            case Loaded(generation):
                if generation == self.coming:
                    self.loading_until = math.inf
                    self._populate(now)
            case LoadFailed(generation, code, why, trace):
                self._not_loaded(generation, code, why, trace)
            case TemplateGone(generation):
                self._template_gone(generation)
            case Reload():
                self._reload_asked = True
            case Stop():
                self._stop(now)
        # and a Tick: nothing but time has passed
        self._expire(now)
        self._settle(now)
        actions, self._actions = self._actions, []
        return actions

    def next_deadline(self) -> float | None:
        """When to call handle(Tick()) if nothing happens before; None: never."""
        return min((when for when in self._deadlines() if when < math.inf), default=None)

    def _deadlines(self) -> Iterator[float]:
        if self.finished:
            return
        yield from (worker.due for worker in self.workers.values())
        yield self.loading_until
        if self.ending:
            return
        if self._reload_asked:
            yield self._reload_from
        if self._can_fork(self.serving):
            yield from (self.slots[at].not_before for at in self._empty_slots())

    # What happened

    def _beat(self, id: int, heartbeat: ipc.Heartbeat, now: float) -> None:
        if worker := self.workers.get(id):
            worker.heard_at = now
            worker.heartbeat = heartbeat

    def _hear(self, id: int, message: ipc.ToMaster, now: float) -> None:
        worker = self.workers.get(id)
        if worker is None:
            return
        worker.heard_at = now
        match message:
            case ipc.Ready():
                self._cue(id, Cue.READY, now)
            case ipc.Accepting():
                self._cue(id, Cue.ACCEPTING, now)
            case ipc.Failed(code, why, trace):
                if worker.stage in STAYING:  # else a sister has said the same, or it drains
                    text = f"worker failed: {why}"
                    self._actions.append(Note("error", text, id, {"code": code}, trace))
                worker.failed = True
                self._cue(id, Cue.LEAVE, now, code=code)
            case ipc.Draining():
                worker.accepts = False
                self._cue(id, Cue.LEAVE, now)
        # and Drained: the worker has logged what it cut, its end is what counts

    def _bury(self, id: int, status: int | None, signal: str, now: float) -> None:
        if (worker := self.workers.pop(id, None)) is None:
            return
        how: dict[str, object] = {"signal": signal} if signal else {"status": status}
        if status == EXIT_OK or worker.stage is Stage.DOOMED or worker.failed:
            self._note("info", "worker is gone", worker, **how)
        elif worker.stage is Stage.DRAINING:
            self._note("warning", "worker died while it drained", worker, **how)
        else:
            if signal == "SIGKILL":
                how["hint"] = "out of memory?"
            self._note("warning", "worker died", worker, **how)
        if worker.stage in STAYING:
            self._lost(worker, now, EXIT_BOOT)

    def _not_forked(self, id: int, why: str, now: float) -> None:
        if (worker := self.workers.pop(id, None)) is None:
            return
        self._note("error", f"worker cannot be forked: {why}", worker)
        if worker.stage in STAYING:
            self._lost(worker, now, EXIT_BOOT)

    def _not_loaded(self, generation: int, code: int, why: str, trace: str = "") -> None:
        self.loaded.discard(generation)
        if generation == self.coming and not self.ending:
            self._actions.append(Note("error", why, None, {"generation": generation}, trace))
            self._give_up(code)

    def _template_gone(self, generation: int) -> None:
        """Its workers live on, but no more of them can be made of the same code."""
        if generation not in self.loaded:
            return
        self.loaded.discard(generation)
        if generation == self.serving and not self.ending:
            self._note("warning", "template died, reloading", generation=generation)
            self._reload_asked = True

    def _stop(self, now: float) -> None:
        if self.ending is None:
            self._end(EXIT_OK)
            self._note("info", "stopping", within_s=self.shutdown_timeout)
        assert self.ending
        self.ending.signals += 1
        if self.ending.signals == 2:
            self.ending.within_s = min(HURRY_S, self.shutdown_timeout)
            self._note("warning", "told to stop again, hurrying", within_s=self.ending.within_s)
            for worker in self.workers.values():
                if worker.stage is Stage.DRAINING:
                    self._retire(worker, "exit", now)
        elif self.ending.signals > 2:
            self._note("warning", "told to stop a third time, killing the workers")
            for id in self.workers:
                self._cue(id, Cue.OVERDUE, now)

    def _expire(self, now: float) -> None:
        if now >= self.loading_until:
            self._actions.append(Unload(self.coming))
            self._not_loaded(self.coming, EXIT_BOOT, "application is not imported in time")
        for worker in self.workers.values():
            if now < worker.due:
                continue
            waited = now - worker.since
            if worker.stage in STAYING:
                self._note(
                    "error",
                    f"worker is {worker.stage.value} for too long, killing it",
                    worker,
                    waited_s=waited,
                    limit_s=self.start_timeout,
                )
            else:
                self._note("warning", "worker does not go, killing it", worker, waited_s=waited)
            self._cue(worker.id, Cue.OVERDUE, now)

    def _cue(self, id: int, cue: Cue, now: float, *, code: int = EXIT_BOOT) -> None:
        """Move a worker through the table, with what its new stage brings."""
        worker = self.workers.get(id)
        if worker is None:
            return
        before = worker.stage
        if (before, cue) not in NEXT_STAGE:
            self._note(
                "error", f"worker is {before.value} but {cue.value} came, killing it", worker
            )
        worker.stage = NEXT_STAGE.get((before, cue), Stage.DOOMED)
        if worker.stage is before:
            return
        if worker.stage is Stage.SERVING:
            worker.serving_since = now
        worker.since = now
        worker.due = worker.due_from(now, start=self.start_timeout, drain=self.shutdown_timeout)
        if worker.stage is Stage.DOOMED:
            self._actions.append(Kill(id))
        if before in STAYING and worker.stage not in STAYING and cue is not Cue.RETIRE:
            self._lost(worker, now, code)

    # What follows

    def _lost(self, worker: Worker, now: float, code: int) -> None:
        """A worker that was counted on is going, or gone."""
        if self.ending:
            return
        if worker.generation == self.coming:
            self._give_up(code)
            return
        if worker.generation != self.serving:
            return  # of a generation that was given up for a sister that was lost with it
        slot = self.slots[worker.slot]
        served_well = now - worker.serving_since >= GOOD_LIFE_S
        slot.failures = 1 if served_well else slot.failures + 1
        pause = 0.0
        if slot.failures > 1:
            pause = min(BACK_OFF_LIMIT_S, BACK_OFF_S * 2.0 ** (slot.failures - 2))
            self._note(
                "warning",
                "workers of the slot keep dying, waiting before the next one",
                worker,
                failures=slot.failures,
                wait_s=pause,
            )
        slot.not_before = now + pause
        if not self._can_fork(self.serving):
            self._reload_asked = True  # only a new generation can fill the slot
            self._reload_from = max(self._reload_from, now + pause)

    def _give_up(self, code: int) -> None:
        """The coming generation will not come."""
        self.coming = 0
        self.loading_until = math.inf
        if self.serving:
            self._note("error", "reload failed, the old code serves on", failed=self.newest)
        elif not self._reload_asked:
            self._note("error", "the server cannot start", status=code)
            self._end(code)

    def _end(self, status: int) -> None:
        self.ending = Ending(status, self.shutdown_timeout)

    def _settle(self, now: float) -> None:
        if self.ending:
            self._unload(())
            for worker in self.workers.values():
                if worker.stage in STAYING or worker.stage is Stage.LEAVING:
                    self._retire(worker, "exit", now)
            if self.listening and not any(worker.accepts for worker in self.workers.values()):
                self.listening = False
                self._actions.append(StopListening())
            if not self.workers:
                self.finished = True
                self._actions.append(Finish(self.ending.status))
            return
        if self._reload_asked and now >= self._reload_from:
            self._begin(now)
        for at in self._empty_slots():
            if now >= self.slots[at].not_before and self._can_fork(self.serving):
                self._spawn(at, self.serving, now)
        self._open(now)
        self._unload((self.serving, self.coming))
        for worker in self.workers.values():
            if worker.stage in STAYING and worker.generation not in (self.serving, self.coming):
                self._retire(worker, "reload", now)

    def _begin(self, now: float) -> None:
        """Start a generation of the newest code; one that was still coming is given up."""
        self._reload_asked = False
        self._reload_from = now + RELOAD_SPACING_S
        self._begun_at = now
        self.newest += 1
        self.coming = self.newest
        if self.newest > 1:
            self._note("info", "reloading", generation=self.newest)
        if self.templates:
            self.loaded.add(self.coming)
            self.loading_until = now + self.start_timeout
            self._actions.append(Load(self.coming))
        else:
            self._populate(now)

    def _populate(self, now: float) -> None:
        for at in range(len(self.slots)):
            self._spawn(at, self.coming, now)

    def _can_fork(self, generation: int) -> bool:
        return not self.templates or generation in self.loaded

    def _unload(self, wanted: tuple[int, ...]) -> None:
        for generation in sorted(self.loaded.difference(wanted)):
            self.loaded.remove(generation)
            self._actions.append(Unload(generation))

    def _spawn(self, slot: int, generation: int, now: float) -> None:
        id, self._next_id = self._next_id, self._next_id + 1
        self.workers[id] = Worker(id, slot, generation, since=now, due=now + self.start_timeout)
        self._actions.append(Spawn(id, slot, generation))

    def _empty_slots(self) -> list[int]:
        """The slots that the serving generation has nobody in."""
        if not self.serving:
            return []
        held = {worker.slot for worker in self._crew(self.serving)}
        return [at for at in range(len(self.slots)) if at not in held]

    def _crew(self, generation: int) -> list[Worker]:
        return [
            worker
            for worker in self.workers.values()
            if worker.generation == generation and worker.stage in STAYING
        ]

    def _open(self, now: float) -> None:
        """Go for the ready ones: of the coming generation all together, else one by one."""
        crew = self._crew(self.coming) if self.coming else []
        if any(worker.stage is Stage.BOOTING for worker in crew):
            crew = []
        for worker in [*crew, *self._crew(self.serving)]:
            if worker.stage is Stage.READY:
                worker.accepts = True
                self._cue(worker.id, Cue.GO, now)
                self._actions.append(Tell(worker.id, ipc.Go()))
        if crew and all(worker.stage is Stage.SERVING for worker in crew):
            self.serving, self.coming = self.coming, 0
            self.slots = [Slot() for _ in self.slots]
            self._actions.append(Serving(self.serving, now - self._begun_at))

    def _retire(self, worker: Worker, reason: str, now: float) -> None:
        within = self.ending.within_s if self.ending else self.shutdown_timeout
        if worker.stage is Stage.BOOTING:
            within = min(within, BOOTING_DRAIN_S)
        due = now + within + GRACE_S
        if worker.stage not in STAYING:
            due = min(due, worker.due)  # what it has been given may only become less
        self._cue(worker.id, Cue.RETIRE, now)
        worker.due = due
        self._actions.append(Tell(worker.id, ipc.Drain(reason, max(0.0, due - GRACE_S - now))))

    def _note(
        self, level: Level, text: str, worker: Worker | None = None, **fields: object
    ) -> None:
        self._actions.append(Note(level, text, worker.id if worker else None, fields))
