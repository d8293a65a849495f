"""Which slots the kernel should leave out, and who serves their queues meanwhile. Pure.

A slot is out while nobody serves it: its worker is stalled and connections wait, or its next one
is waited for, or the slot is to be closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pounce.supervisor.crew import GAP_S, Slot, Worker
from pounce.supervisor.stages import Stage


def serves(worker: Worker) -> bool:
    """Does it take connections from the queues of its slot?"""
    return worker.stage is Stage.SERVING and worker.accepts and not worker.stalled


def slots_out(slots: Sequence[Slot], workers: Iterable[Worker], now: float) -> frozenset[int]:
    """The slots to leave out of the kernel's choice; none if no other would serve."""
    served = {worker.slot for worker in workers if serves(worker)}
    stalled = {worker.slot for worker in workers if worker.stalled} - served
    out = {
        at
        for at, slot in enumerate(slots)
        if slot.closes_at is not None
        or at in stalled
        or (at not in served and slot.not_before - now > GAP_S)
    }
    return frozenset(out) if served - out else frozenset()


def adopters(
    out: frozenset[int], workers: Mapping[int, Worker], present: Mapping[int, int]
) -> dict[int, int]:
    """For each slot that is out and served by nobody: the number of the worker to adopt it.

    Args:
        present: who has adopted which slot already; they keep it while they can.
    """
    able = [worker for worker in workers.values() if serves(worker) and worker.slot not in out]
    needy = sorted(out - {worker.slot for worker in workers.values() if serves(worker)})
    if not able:
        return {}
    kept = {worker.id for worker in able}
    chosen: dict[int, int] = {}
    for at in needy:
        if present.get(at) in kept:
            chosen[at] = present[at]
        else:
            load = [*chosen.values()]
            chosen[at] = min(able, key=lambda worker: (load.count(worker.id), worker.id)).id
    return chosen
