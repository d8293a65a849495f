"""The slots in steady state: how many there are, whose worker is to be replaced, which are stalled.

What a reload or a stop makes of them is decided in state.py.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pounce.ipc import BUSY_BEAT_S
from pounce.supervisor.crew import PROBE_S, SETTLE_S, Policy, Slot
from pounce.supervisor.ledger import Ledger
from pounce.supervisor.orders import AddSlot, Adopt, CloseSlot, Release, Steer
from pounce.supervisor.stages import STAYING, Stage
from pounce.supervisor.steerage import adopters, slots_out, weights

MOST_SLOTS: Final = 512


class Slots(Ledger):
    """The part of the Supervisor that looks at the slots between reloads.

    Attributes:
        wanted: how many slots there should be.
        serving: the generation that serves; 0: none yet.
        coming: the generation that is being started; 0: none.
        weights: what the kernel was told of the slots, as in Steer.
        adopted: which worker serves the queue of which slot beside its own.
    """

    def __init__(self, *, slots: int, policy: Policy, steerable: bool) -> None:
        super().__init__(slots=slots, policy=policy, steerable=steerable)
        self.wanted = slots
        self.serving = 0
        self.coming = 0
        self._adding = False  # a slot is being bound
        self.weights: tuple[tuple[int, int], ...] = ()
        self.adopted: dict[int, int] = {}

    @abstractmethod
    def _can_fork(self, generation: int) -> bool:
        """Is there what its workers are made of?"""

    @property
    def active(self) -> int:
        """How many slots there are, without those that are to go."""
        return len(self._active_slots())

    def _active_slots(self) -> list[int]:
        return [at for at, slot in enumerate(self.slots) if slot.closes_at is None]

    # What happened

    def _scale(self, wanted: int, now: float) -> None:
        wanted = max(1, min(MOST_SLOTS, wanted))
        if wanted == self.wanted or self.ending:
            return
        self._note("info", "scaling", workers=wanted, before=self.wanted)
        self.wanted = wanted
        for slot in self.slots[:wanted]:
            slot.closes_at = None
        for slot in self.slots[wanted:]:
            if slot.closes_at is None:
                slot.closes_at = now + (SETTLE_S if self.steerable else 0.0)

    def _added(self) -> None:
        self._adding = False
        closes_at = None if len(self.slots) < self.wanted else -math.inf
        self.slots.append(Slot(closes_at=closes_at, unopened=True))

    def _not_added(self, why: str) -> None:
        self._adding = False
        self.wanted = max(1, min(self.wanted, len(self.slots)))
        self._note("error", f"slot cannot be added: {why}", None, workers=self.wanted)

    def _queued(self, at: int, depth: int, now: float) -> None:
        for worker in self.workers.values():
            suspect = worker.stage is Stage.SERVING and worker.suspect_at == math.inf
            if worker.slot != at or not suspect:
                continue  # or it was heard since
            worker.suspect_at = now + PROBE_S
            if depth and not worker.stalled:
                worker.stalled = True
                self._note(
                    "warning",
                    "worker is stalled, others take its connections",
                    worker,
                    waiting=depth,
                    silent_s=now - worker.heard_at,
                )

    # What follows

    def _settle_slots(self, now: float) -> None:
        if len(self.slots) < self.wanted and not self._adding:
            self._adding = True
            self._actions.append(AddSlot())
        self._shrink(now)
        self._recycle(now)
        self._steer(now)

    def _slot_deadlines(self) -> Iterator[float]:
        """When something is to be settled here if nothing happens before."""
        for slot in self.slots:
            if slot.closes_at is not None and not slot.closing:
                yield slot.closes_at
        if self.coming or self._exchange() or not self._can_fork(self.serving):
            return
        for worker in self.crew(self.serving):
            slot = self.slots[worker.slot]
            if worker.stage is Stage.SERVING and slot.closes_at is None:
                yield max(worker.age_limit(self.policy), slot.not_before)

    def _shrink(self, now: float) -> None:
        for slot in self.slots:
            slot.closing = slot.closes_at is not None and now >= slot.closes_at
        for worker in self.workers.values():
            if worker.stage in STAYING and self.slots[worker.slot].closing:
                self._retire(worker, "scale", now)
        while len(self.slots) > 1:
            at = len(self.slots) - 1
            if not self.slots[at].closing:
                return
            # Also one that is paused keeps the slot in the kernel's choice, until it lets go.
            if any(worker.slot == at and worker.holds for worker in self.workers.values()):
                return
            if at in self.adopted:
                self._release(at)
            self.slots.pop()
            self.weights = tuple(pair for pair in self.weights if pair[0] != at)
            self._actions.append(CloseSlot(at))

    def _exchange(self) -> set[int]:
        """The slots whose worker has a successor of its own generation under way."""
        held = Counter(worker.slot for worker in self.crew(self.serving))
        return {slot for slot, workers in held.items() if workers > 1}

    def _recycle(self, now: float) -> None:
        """Replaces one tired worker at a time, the successor first."""
        if self.coming or not self.serving:
            return
        crew = self.crew(self.serving)
        for at in self._exchange():
            pair = sorted((worker for worker in crew if worker.slot == at), key=lambda w: w.id)
            if pair[-1].stage is Stage.SERVING:
                for worker in pair[:-1]:
                    self._retire(worker, "recycle", now)
            else:
                return
        for worker in crew:
            slot = self.slots[worker.slot]
            if worker.stage is not Stage.SERVING or slot.closes_at is not None:
                continue
            cause = worker.tired(self.policy, now)
            if cause and now >= slot.not_before and self._can_fork(self.serving):
                self._note("info", "worker is to be replaced", worker, cause=cause)
                self._spawn(worker.slot, self.serving, now)
                return

    def _steer(self, now: float) -> None:
        if not self.steerable:
            return
        out = slots_out(self.slots, self.workers.values(), now)
        # The worker of a slot that closes lets in who waits there before it goes. One more that had
        # the listener open would be given connections for as long, and nobody to take them after.
        closing = {at for at, slot in enumerate(self.slots) if slot.closing}
        chosen = adopters(out - closing, self.workers, self.adopted)
        for at, id in [*self.adopted.items()]:
            if chosen.get(at) != id:
                self._release(at)
        expected = sum(worker.rate for worker in self.workers.values()) * BUSY_BEAT_S
        wanted = weights(len(self.slots), out, self.workers.values(), expected=expected)
        if wanted != self.weights:
            self.weights = wanted
            self._actions.append(Steer(wanted))
        for at, id in chosen.items():
            if at not in self.adopted:
                self.adopted[at] = id
                self._actions.append(Adopt(id, at))

    def _steer_no_more(self) -> None:
        for at in [*self.adopted]:
            self._release(at)
        if self.weights:
            self.weights = ()
            self._actions.append(Steer(()))

    def _release(self, at: int) -> None:
        id = self.adopted.pop(at)
        if id in self.workers:
            self._actions.append(Release(id, at))
