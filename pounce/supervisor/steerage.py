"""Which slots new connections should go to, and who serves the queues of the others. Pure.

A slot is out while nobody serves it: its worker is stalled and connections wait, or its next one
is waited for, or the slot is to be closed. Of the others, those with fewer open connections get
more of the new ones: the kernel's hash spreads evenly only what is many and short.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pounce.supervisor.crew import GAP_S, Slot, Worker
from pounce.supervisor.stages import Stage

# Weights are whole numbers up to this.
FINEST: Final = 100
# Within this the hash is left alone; more than it is what a balancer may promise (1.25).
UNEVEN: Final = 1.1
SPARE: Final = 1  # one connection more or less is no imbalance


def serves(worker: Worker) -> bool:
    """Does it take connections from the queues of its slot?"""
    return worker.stage is Stage.SERVING and worker.accepts and not worker.stalled


def slots_out(slots: Sequence[Slot], workers: Iterable[Worker], now: float) -> frozenset[int]:
    """The slots to leave out of the kernel's choice; none if no other would serve."""
    workers = list(workers)
    served = {worker.slot for worker in workers if serves(worker)}
    stalled = {worker.slot for worker in workers if worker.stalled} - served
    out = {
        at
        for at, slot in enumerate(slots)
        if (slot.closes_at is not None and not slot.unopened)
        or at in stalled
        or (at not in served and slot.not_before - now > GAP_S and not slot.unopened)
    }
    return frozenset(out) if served - out else frozenset()


def weights(
    count: int, out: frozenset[int], workers: Iterable[Worker], *, expected: float
) -> tuple[tuple[int, int], ...]:
    """How often each slot should be chosen: (slot, weight) pairs; () leaves it to the kernel.

    Args:
        count: of slots.
        out: those that are not to be chosen.
        expected: how many connections come before the next decision. They are dealt out so that all
            slots are even then; fewer than are missing go where most are missing, and more than
            that raise all alike, so that nobody is overwhelmed.
    """
    open_in = dict.fromkeys((at for at in range(count) if at not in out), 0)
    for worker in workers:
        if worker.slot in open_in and serves(worker) and worker.heartbeat:
            open_in[worker.slot] += worker.heartbeat.connections
    most, least = max(open_in.values()), min(open_in.values())
    if most <= UNEVEN * least + SPARE:
        return tuple((at, 1) for at in open_in) if out else ()
    level = _level(sorted(open_in.values()), max(1.0, expected))
    part = FINEST / (level - least)
    given = {at: round(part * (level - held)) for at, held in open_in.items() if held < level}
    return tuple((at, weight) for at, weight in given.items() if weight)


def _level(held: Sequence[int], more: float) -> float:
    """How high the water stands when `more` is poured over these heights, lowest first."""
    below = 0
    for at, height in enumerate(held):
        if height * at - below >= more:
            return (more + below) / at
        below += height
    return (more + below) / len(held)


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
