"""The books of the supervisor: every worker and slot, and what each event does to one of them.

What follows from it for all of them together is decided in state.py.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from pounce import ipc
from pounce.errors import EXIT_BOOT, EXIT_OK
from pounce.supervisor.crew import BOOTING_DRAIN_S, GRACE_S, Ending, Policy, Slot, Totals, Worker
from pounce.supervisor.orders import (
    Abort,
    Action,
    Ask,
    Kill,
    Level,
    Note,
    Probe,
    Spawn,
    Tell,
    Terminate,
    shown,
)
from pounce.supervisor.stages import NEXT_STAGE, STAYING, Cue, Stage


class Ledger(ABC):
    """The half of the Supervisor that looks at one worker at a time.

    Attributes:
        workers: by number, from the order to fork to the reaping.
        slots: the highest ones may be about to close.
        steerable: the kernel can be told which slots to leave out.
        ending: None until the server is to stop.
        past: what workers have done that are gone.
    """

    def __init__(self, *, slots: int, policy: Policy, steerable: bool) -> None:
        self.policy = policy
        self.steerable = steerable
        self.workers: dict[int, Worker] = {}
        self.slots = [Slot() for _ in range(slots)]
        self.ending: Ending | None = None
        self.past = Totals()
        self._next_id = 1
        # Workers that a generation was given up for, which is known; before they are reaped, and
        # what ended them is known too.
        self._unexplained: dict[int, int] = {}
        self._actions: list[Action] = []

    @abstractmethod
    def _lost(self, worker: Worker, now: float, code: int) -> None:
        """A worker that was counted on is going, or gone."""

    def crew(self, generation: int) -> list[Worker]:
        """The workers of a generation that are counted on."""
        return [
            worker
            for worker in self.workers.values()
            if worker.generation == generation and worker.stage in STAYING
        ]

    # What a worker says

    def _beat(self, id: int, heartbeat: ipc.Heartbeat, now: float) -> bool:
        """Did this change more than numbers?"""
        worker = self.workers.get(id)
        if worker is None:
            return False
        stalled = worker.stalled
        moved = worker.beat(heartbeat, now)
        if worker.stage is Stage.HUNG:
            self._note("info", "worker answers again", worker)
            self._cue(id, Cue.REVIVED, now)
            return True
        return stalled or (moved and self.steerable) or bool(worker.tired(self.policy, now))

    def _hear(self, id: int, message: ipc.ToMaster, now: float) -> None:
        worker = self.workers.get(id)
        if worker is None:
            return
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
                worker.at_drain = message
                worker.accepts = False
                self._cue(id, Cue.LEAVE, now)
        # and Drained: the worker has logged what it cut, its end is what counts

    # How it ends

    def _bury(self, id: int, status: int | None, signal: str, hint: str, now: float) -> None:
        if (worker := self.workers.pop(id, None)) is None:
            return
        if worker.heartbeat is not None:
            self.past += Totals.of(worker.heartbeat).ended()
        how: dict[str, object] = {"signal": signal} if signal else {"status": status}
        ours = worker.stage is Stage.DRAINING and signal == "SIGTERM"  # it was still importing
        known = worker.stage in (Stage.DOOMED, Stage.ABORTED) or worker.failed or ours
        if hint and not known:
            how["hint"] = hint
        if status == EXIT_OK or known:
            self._note("info", "worker is gone", worker, **how)
        elif worker.stage is Stage.DRAINING and id not in self._unexplained:
            self._note("warning", "worker died while it drained", worker, **how)
        else:
            self._note("warning", "worker died", worker, **how)
        if worker.stage in STAYING:
            self._lost(worker, now, EXIT_BOOT)

    def _not_forked(self, id: int, why: str, now: float) -> None:
        if (worker := self.workers.pop(id, None)) is None:
            return
        self._note("error", f"worker cannot be forked: {why}", worker)
        if worker.stage in STAYING:
            self._lost(worker, now, EXIT_BOOT)

    def _expire(self, now: float) -> None:
        """What the passing of time does to each worker."""
        for worker in list(self.workers.values()):
            if worker.stage is Stage.SERVING:
                self._watch(worker, now)
            if now < worker.due:
                continue
            waited = now - worker.since
            if worker.stage is Stage.HUNG:
                self._note("error", "worker still does not answer, aborting it", worker)
            elif worker.stage in STAYING:
                self._note(
                    "error",
                    f"worker is {worker.stage.value} for too long, killing it",
                    worker,
                    waited_s=waited,
                    limit_s=self.policy.start_timeout,
                )
            else:
                self._note("warning", "worker does not go, killing it", worker, waited_s=waited)
            self._cue(worker.id, Cue.OVERDUE, now)

    def _watch(self, worker: Worker, now: float) -> None:
        if now >= worker.silent_at(self.policy):
            silent_s = now - worker.heard_at
            self._note("error", "worker does not answer, replacing it", worker, silent_s=silent_s)
            self._cue(worker.id, Cue.SILENT, now)
        elif self.steerable and now >= worker.suspect_at:
            worker.suspect_at = math.inf  # until Queued is there
            self._actions.append(Probe(worker.slot))

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
        if before is Stage.OPENING and worker.stage is Stage.SERVING:
            worker.serving_since = min(worker.serving_since, now)
            worker.hear(now, self.policy.start_timeout)  # until its first heartbeat
        worker.since = now
        worker.due = worker.due_from(now, self.policy)
        match worker.stage:
            case Stage.HUNG:
                self._actions.append(Ask(id))
            case Stage.ABORTED:
                self._actions.append(Abort(id))
            case Stage.DOOMED:
                self._actions.append(Kill(id))
        if before in STAYING and worker.stage not in STAYING and cue is not Cue.RETIRE:
            self._lost(worker, now, code)

    # What it is told

    def _spawn(self, slot: int, generation: int, now: float) -> None:
        id, self._next_id = self._next_id, self._next_id + 1
        due = now + self.policy.start_timeout
        self.workers[id] = Worker(id, slot, generation, since=now, due=due)
        self._actions.append(Spawn(id, slot, generation))

    def _go(self, worker: Worker, now: float) -> None:
        worker.accepts = True
        self.slots[worker.slot].unopened = False
        self._cue(worker.id, Cue.GO, now)
        self._actions.append(Tell(worker.id, ipc.Go()))

    def _pause(self, worker: Worker, now: float) -> None:
        worker.accepts = False
        self._cue(worker.id, Cue.PAUSE, now)
        self._actions.append(Tell(worker.id, ipc.Pause()))

    def _retire(self, worker: Worker, reason: str, now: float) -> None:
        within = self.ending.within_s if self.ending else self.policy.shutdown_timeout
        if worker.stage is Stage.BOOTING:
            within = min(within, BOOTING_DRAIN_S)
            self._actions.append(Terminate(worker.id))
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

    def _said_of(self, id: int) -> str:
        """What the log is about to say of a worker; "" for nothing."""
        for action in reversed(self._actions):
            if isinstance(action, Note) and action.worker == id:
                fields = [shown(name, value) for name, value in action.fields.items()]
                return f"{action.text} ({', '.join(fields)})" if fields else action.text
        return ""
