"""Which slots the kernel leaves out, and who serves their queues: as tables."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pounce.ipc import Heartbeat
from pounce.supervisor.crew import GAP_S, Slot, Worker
from pounce.supervisor.stages import Stage
from pounce.supervisor.steerage import adopters, serves, slots_out, weights

NOW = 100.0
LONG = NOW + 2 * GAP_S


def worker(
    slot: int,
    stage: Stage = Stage.SERVING,
    *,
    id: int = 0,
    accepts: bool = True,
    stalled: bool = False,
) -> Worker:
    return Worker(
        id=id or slot + 1,
        slot=slot,
        generation=1,
        since=0.0,
        due=0.0,
        stage=stage,
        accepts=accepts,
        stalled=stalled,
    )


GOOD = Slot()
WAITS = Slot(not_before=LONG)  # its next worker comes only then
SOON = Slot(not_before=NOW + GAP_S / 2)
CLOSES = Slot(closes_at=LONG)


@pytest.mark.parametrize(
    ("one", "does"),
    [
        (worker(0), True),
        (worker(0, stalled=True), False),
        (worker(0, accepts=False), False),
        *(
            (worker(0, stage), False)
            for stage in Stage
            if stage is not Stage.SERVING  # also hung: it is silent since long
        ),
    ],
)
def test_who_serves_is_at_that_stage_accepts_and_is_not_stalled(one: Worker, does: bool) -> None:
    assert serves(one) is does


@pytest.mark.parametrize(
    ("slots", "workers", "out"),
    [
        ([GOOD, GOOD], [worker(0), worker(1)], set()),
        # Stalled, and another one serves.
        ([GOOD, GOOD], [worker(0), worker(1, stalled=True)], {1}),
        # An older worker of the slot serves its queue on.
        ([GOOD, GOOD], [worker(0), worker(1, stalled=True), worker(1, id=9)], set()),
        # All stalled: nobody would be left.
        ([GOOD, GOOD], [worker(0, stalled=True), worker(1, stalled=True)], set()),
        ([GOOD], [worker(0, stalled=True)], set()),
        # Dead: a worker that comes at once is waited for, one that comes later is not.
        ([GOOD, GOOD], [worker(0)], set()),
        ([GOOD, SOON], [worker(0)], set()),
        ([GOOD, WAITS], [worker(0)], {1}),
        ([WAITS, WAITS], [], set()),
        ([WAITS, WAITS, GOOD], [worker(2)], {0, 1}),
        # The series of deaths is not over, but one serves now.
        ([GOOD, WAITS], [worker(0), worker(1)], set()),
        # To be closed, though it is served until then.
        ([GOOD, CLOSES], [worker(0), worker(1)], {1}),
        ([CLOSES], [worker(0)], set()),
        ([GOOD, CLOSES], [worker(0, stalled=True), worker(1)], set()),
        # Who drains serves nobody, and its successor is on its way.
        ([GOOD, GOOD], [worker(0), worker(1, Stage.DRAINING, accepts=False)], set()),
    ],
)
def test_a_slot_is_out_while_nobody_serves_it_and_another_can(
    slots: Sequence[Slot], workers: Sequence[Worker], out: set[int]
) -> None:
    assert slots_out(slots, workers, NOW) == out


@pytest.mark.parametrize(
    ("out", "workers", "present", "chosen"),
    [
        (set(), [worker(0), worker(1)], {}, {}),
        ({1}, [worker(0)], {}, {1: 1}),
        ({1}, [worker(0), worker(1, stalled=True)], {}, {1: 1}),
        # To be closed, but served by its own.
        ({1}, [worker(0), worker(1)], {}, {}),
        # Shared evenly, the first come first.
        ({2, 3}, [worker(0), worker(1)], {}, {2: 1, 3: 2}),
        ({1, 2, 3}, [worker(0)], {}, {1: 1, 2: 1, 3: 1}),
        # Who has it keeps it.
        ({2}, [worker(0), worker(1)], {2: 2}, {2: 2}),
        ({2, 3}, [worker(0), worker(1)], {3: 1}, {2: 1, 3: 1}),
        # Unless it cannot.
        ({2}, [worker(0), worker(1, stalled=True)], {2: 2}, {2: 1}),
        ({2}, [worker(0)], {2: 7}, {2: 1}),
        # A worker whose own slot is to be closed adopts no other.
        ({1, 2}, [worker(0), worker(1)], {}, {2: 1}),
        ({0, 1}, [worker(1)], {}, {}),
        # Nobody can.
        ({0}, [worker(0, stalled=True)], {0: 1}, {}),
    ],
)
def test_each_slot_that_is_out_and_unserved_has_one_who_adopts_it(
    out: set[int],
    workers: Sequence[Worker],
    present: dict[int, int],
    chosen: dict[int, int],
) -> None:
    by_id = {one.id: one for one in workers}
    assert adopters(frozenset(out), by_id, present) == chosen


def holding(slot: int, connections: int) -> Worker:
    one = worker(slot)
    one.heartbeat = Heartbeat(0.25, connections, connections, 0, 0, 0)
    return one


@pytest.mark.parametrize(
    ("held", "out", "expected", "wanted"),
    [
        ([10, 10, 10], (), 10, ()),
        ([10, 11, 10], (), 10, ()),
        ([0, 1, 0], (), 10, ()),
        ([100, 109, 100], (), 10, ()),
        # fewer are expected than the lowest lacks: all of them go there
        ([100, 0, 100], (), 10, ((1, 100),)),
        ([0, 50, 100], (), 40, ((0, 100),)),
        # as many as are missing
        ([100, 0, 100], (), 100, ((1, 100),)),
        ([20, 0, 40], (), 60, ((0, 50), (1, 100))),
        # more: everybody gets some
        ([100, 0, 100], (), 400, ((0, 50), (1, 100), (2, 50))),
        ([10, 0, 50], (), 0, ((1, 100),)),
        ([10, 10, 10], (1,), 10, ((0, 1), (2, 1))),
        ([100, 0, 0], (1,), 10, ((2, 100),)),
    ],
)
def test_what_is_expected_is_dealt_out_so_that_all_are_even_then(
    held: list[int], out: tuple[int, ...], expected: float, wanted: tuple[tuple[int, int], ...]
) -> None:
    workers = [holding(slot, count) for slot, count in enumerate(held)]
    assert weights(len(held), frozenset(out), workers, expected=expected) == wanted
