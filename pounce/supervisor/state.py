"""Slots and generations: who is born, told, retired and killed, and when. Knows no process, no
pipe and no clock.

Events go in, actions come out. Each event is first noted (a worker moves through NEXT_STAGE), then
everything is settled: the workers there are, are compared with the workers there should be, and
the difference is asked for. A reload is "another generation is wanted", scaling is "so many slots
are wanted", a stop is "nobody is wanted": no list of steps that an ill-timed signal could leave
half done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pounce import ipc
from pounce.errors import EXIT_BOOT, EXIT_OK
from pounce.supervisor.crew import (
    ASK_S,
    BACK_OFF_LIMIT_S,
    BACK_OFF_S,
    GOOD_LIFE_S,
    RELOAD_SPACING_S,
    Policy,
    Worker,
)
from pounce.supervisor.endings import Endings
from pounce.supervisor.orders import (
    Action,
    Added,
    Event,
    Exited,
    HungUp,
    Load,
    Loaded,
    LoadFailed,
    NotAdded,
    Note,
    NotForked,
    Outcome,
    Queued,
    Reload,
    Said,
    Scale,
    Serving,
    Slept,
    Stop,
    TemplateGone,
    Unload,
    Upgraded,
)
from pounce.supervisor.stages import STAYING, Cue, Stage


class Supervisor(Endings):
    """The master's decisions. One event at a time; `now` is from one monotonic clock.

    Args:
        templates: each generation is imported once, and its workers are forked from that.
        steerable: the kernel can be told which slots to leave out.
    """

    def __init__(
        self, *, slots: int, policy: Policy, templates: bool = False, steerable: bool = False
    ) -> None:
        super().__init__(slots=slots, policy=policy, steerable=steerable)
        self.newest = 0
        self.templates = templates
        self.loaded: set[int] = set()  # generations with a template, loading ones included
        self.loading_until = math.inf
        self.trial_until = math.inf  # of the coming generation, once all of it serves
        self._plan: Reload | None = None  # settings that the next generation to serve brings
        self._reload_asked = True  # the start is the first reload
        self._asked: Reload | None = None
        self._reload_from = -math.inf
        self._retry_at = math.inf  # a reload, since there are slots that only another one fills
        self._failed_reloads = 0  # since the last one that did not
        self._begun_at = -math.inf

    def handle(self, event: Event, now: float) -> list[Action]:
        """What to do now that `event` has happened. Nothing any more after Finish."""
        if self.finished:
            return []
        if isinstance(event, Said) and isinstance(event.message, ipc.Heartbeat):
            # By far the most frequent, and mostly nothing that would have to be settled.
            if not self._beat(event.worker, event.message, now):
                return []
        else:
            self._take(event, now)
        self._expire(now)
        if now >= self.loading_until:
            self._actions.append(Unload(self.coming))
            limit_s = self.policy.start_timeout
            why = f"the import is not over within start_timeout ({limit_s:g} s)"
            self._not_loaded(self.coming, EXIT_BOOT, why)
        self._settle(now)
        actions, self._actions = self._actions, []
        return actions

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Said(worker, message):
                self._hear(worker, message, now)
            case HungUp(worker):
                self._cue(worker, Cue.LEAVE, now)
            case Exited(worker, status, signal, hint):
                self._bury(worker, status, signal, hint, now)
                self._explain(worker)
            case NotForked(worker, why):
                self._not_forked(worker, why, now)
            case Loaded(generation):
                if generation == self.coming:
                    self.loading_until = math.inf
            case LoadFailed(generation, code, why, trace):
                self._not_loaded(generation, code, why, trace)
            case TemplateGone(generation):
                self._template_gone(generation)
            case Reload():
                self._reload_asked = True
                self._asked = event
            case Scale(to, by):
                self._scale(to or self.wanted + by, now)
            case Added():
                self._added()
            case NotAdded(why):
                self._not_added(why)
            case Queued(slot, depth):
                self._queued(slot, depth, now)
            case Slept(seconds):
                self._slept(seconds)
                self.loading_until += seconds
            case Upgraded():
                self._end(EXIT_OK, now, reason="upgrade")
            case Stop(interrupt):
                self._stop(now, interrupt=interrupt)
        # and a Tick: nothing but time has passed

    def next_deadline(self) -> float | None:
        """When to call handle(Tick()) if nothing happens before; None: never."""
        return min((when for when in self._deadlines() if when < math.inf), default=None)

    def _deadlines(self) -> Iterator[float]:
        if self.finished:
            return
        for worker in self.workers.values():
            yield worker.due
            if worker.stage is Stage.SERVING:
                if self.steerable:
                    yield worker.suspect_at
                yield worker.silent_at(self.policy)
        yield self.loading_until
        if self.ending:
            yield self.ending.say_at
            if any(worker.lame for worker in self.workers.values() if worker.stage in STAYING):
                yield self.ending.accept_until
            return
        yield self.trial_until
        yield self._retry_at
        if self._reload_asked:
            yield self._reload_from
        if self._can_fork(self.serving):
            yield from (self.slots[at].not_before for at in self._empty_slots())
        yield from self._slot_deadlines()

    # What happened

    def _not_loaded(self, generation: int, code: int, why: str, trace: str = "") -> None:
        self.loaded.discard(generation)
        if generation == self.coming and not self.ending:
            text = f"template failed: {why}"
            self._actions.append(Note("error", text, None, {"generation": generation}, trace))
            self._give_up(code, why)

    def _template_gone(self, generation: int) -> None:
        """Its workers live on, but no more of them can be made of the same code."""
        if generation not in self.loaded:
            return
        if generation == self.coming and self.trial_until == math.inf:
            why = "the process that imports the application died"
            self._not_loaded(generation, EXIT_BOOT, why)
            return
        self.loaded.discard(generation)
        if not self.ending:
            self._note("warning", "template died, reloading", generation=generation)
            self._reload_asked = True

    def _lost(self, worker: Worker, now: float, code: int) -> None:
        if self.ending:
            return
        if worker.generation == self.coming:
            why = self._said_of(worker.id)
            if not why and worker.at_drain is not None:
                why = "a new worker goes, though nobody here has told it to"
            self._give_up(code, why, worker.id)
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

    def _give_up(self, code: int, why: str, worker: int = 0) -> None:
        """The coming generation will not come, or will not stay.

        Without `why` it is said when the worker has been reaped.
        """
        given_up, self.coming = self.coming, 0
        self._failed_reloads += 1
        self.loading_until = self.trial_until = math.inf
        if not self.serving and self._reload_asked:
            return
        if not self.serving:
            self._end(code, -math.inf)
        if why:
            self._say_why(given_up, why)
        else:
            self._unexplained[worker] = given_up

    def _explain(self, worker: int) -> None:
        if given_up := self._unexplained.pop(worker, 0):
            self._say_why(given_up, self._said_of(worker) or "a worker hung up")

    def _say_why(self, given_up: int, why: str) -> None:
        if self.ending:
            self.ending.why = self.ending.why or why
            return
        self._note("error", f"reload failed, the old code serves on: {why}", failed=given_up)
        self._actions.append(Outcome(given_up, why))

    # What follows

    def _settle(self, now: float) -> None:
        if self.ending:
            self._unload(())
            self._wind_up(self.ending, now)
            return
        if (self._reload_asked and now >= self._reload_from) or now >= self._retry_at:
            self._begin(now)
        self._wait_for_template(now)
        self._fill(now)
        self._open(now)
        self._judge(now)
        self._fill(now)  # what it has made empty, or let go
        self._unload((self.serving, self.coming))
        served = {worker.slot for worker in self.crew(self.serving) if _serves(worker)}
        for worker in self.workers.values():
            if worker.stage not in STAYING or worker.generation in (self.serving, self.coming):
                continue
            # One that serves waits for the one that takes over, when a reload is taken back.
            if not _serves(worker) or worker.slot in served or not self.serving:
                self._retire(worker, "reload", now)
        self._settle_slots(now)

    def _begin(self, now: float) -> None:
        """Start a generation of the newest code; one that was still coming is given up."""
        if self.trial_until < math.inf:
            self._commit(now)  # it has served so far, and what comes is newer still
        self._reload_asked = False
        # Where nobody asked, the newest settings are those of a reload that failed or came to
        # nothing: whoever imports anew goes by them.
        self._plan, self._asked = self._asked or self._plan, None
        self._retry_at = math.inf
        self._reload_from = now + RELOAD_SPACING_S
        self._begun_at = now
        self.newest += 1
        self.coming = self.newest
        if self.newest > 1:
            self._note("info", "reloading", generation=self.newest)
        if self.templates:
            self.loaded.add(self.coming)
            self.loading_until = now + self.policy.start_timeout
            self._actions.append(Load(self.coming))

    def _wait_for_template(self, now: float) -> None:
        """Slots whose next worker only another generation can be are left out until it is there."""
        waiting = [] if self._can_fork(self.serving) else self._empty_slots()
        for at in waiting:
            self.slots[at].not_before = math.inf
        if waiting and not self.coming and not self._reload_asked:
            pause = RELOAD_SPACING_S * 2.0 ** min(self._failed_reloads - 1, 10)
            self._retry_at = min(self._retry_at, now + min(pause, BACK_OFF_LIMIT_S))

    def _fill(self, now: float) -> None:
        """Workers for the slots that have none: of the coming generation as the surge allows."""
        for at in self._empty_slots():
            if now >= self.slots[at].not_before and self._can_fork(self.serving):
                self._spawn(at, self.serving, now)
        if not self.coming or self.loading_until < math.inf:
            return
        held = {worker.slot for worker in self.crew(self.coming)}
        active = self._active_slots()
        for at in active:
            surge = len(self.workers) - len(active)
            if at not in held and (not self._step_by_step or surge < self.policy.max_surge):
                self._spawn(at, self.coming, now)

    def _open(self, now: float) -> None:
        """Go for the ready ones: of the coming generation all together, else one by one."""
        crew = self.crew(self.coming) if self.coming else []
        whole = {worker.slot for worker in crew}.issuperset(self._active_slots())
        whole = whole or self._step_by_step
        if not whole or any(worker.stage is Stage.BOOTING for worker in crew):
            crew = []
        for worker in [*crew, *self.crew(self.serving)]:
            paused = worker.stage is Stage.PAUSED and self.trial_until == math.inf
            if worker.stage is Stage.READY or paused:
                self._go(worker, now)

    def _judge(self, now: float) -> None:
        """The coming generation: does all of it serve, and has it done so for long enough?"""
        if not self.coming:
            return
        serving = {worker.slot for worker in self.crew(self.coming) if _serves(worker)}
        older = self.crew(self.serving) if self.serving else []
        if self._step_by_step:
            for worker in older:
                if worker.slot in serving:
                    self._retire(worker, "reload", now)
        if self.trial_until == math.inf:
            if not serving.issuperset(self._active_slots()):
                return
            self._actions.append(Serving(self.coming, now - self._begun_at))
            self.trial_until = now + (self.policy.probation if self.serving else 0.0)
        if now >= self.trial_until:
            if any(worker.stage is Stage.HUNG for worker in self.crew(self.coming)):
                self.trial_until = now + ASK_S  # it is about to be given up, or answers again
            else:
                self._commit(now)
                return
        for worker in self.crew(self.serving):
            if worker.stage is Stage.SERVING:
                self._pause(worker, now)

    def _commit(self, now: float) -> None:
        """The coming generation stays."""
        first = not self.serving
        self.serving, self.coming = self.coming, 0
        self._failed_reloads = 0
        self.trial_until = math.inf
        for slot in self.slots:
            slot.failures, slot.not_before = 0, -math.inf
        if not first or self.serving > 1:  # a reload that overtook the start is one
            self._actions.append(Outcome(self.serving))
        plan, self._plan = self._plan, None
        if plan and plan.policy:
            self.policy = plan.policy
        if plan and plan.slots:
            self._scale(plan.slots, now)

    @property
    def _step_by_step(self) -> bool:
        return bool(self.policy.max_surge and self.serving)

    def _can_fork(self, generation: int) -> bool:
        return not self.templates or generation in self.loaded

    def _unload(self, wanted: tuple[int, ...]) -> None:
        for generation in sorted(self.loaded.difference(wanted)):
            self.loaded.remove(generation)
            self._actions.append(Unload(generation))

    def _empty_slots(self) -> list[int]:
        """The slots that the serving generation has nobody in, and needs to."""
        if not self.serving:
            return []
        held = {worker.slot for worker in self.crew(self.serving)}
        if self.coming:
            held |= {worker.slot for worker in self.crew(self.coming) if _serves(worker)}
        return [at for at in self._active_slots() if at not in held]


def _serves(worker: Worker) -> bool:
    return worker.stage is Stage.SERVING
