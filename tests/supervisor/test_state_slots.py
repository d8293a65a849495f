"""Scaling, recycling, stalled and hung workers, and queues that others look after."""

from __future__ import annotations

from typing import Any

import pytest

from pounce.supervisor.crew import (
    ABORT_S,
    ASK_S,
    BACK_OFF_LIMIT_S,
    GAP_S,
    LATE_S,
    PROBE_S,
    SETTLE_S,
    SPREAD,
    Policy,
)
from pounce.supervisor.orders import (
    Abort,
    AddSlot,
    Adopt,
    Ask,
    CloseSlot,
    Kill,
    Probe,
    Release,
    Scale,
    Slept,
    Spawn,
    Steer,
    Tick,
)
from pounce.supervisor.slots import MOST_SLOTS
from pounce.supervisor.stages import Stage
from pounce.supervisor.state import Supervisor
from tests.support.fake_kernel import FakeKernel, Process

BEAT_S = 0.25  # what a heartbeat of the fake kernel's processes promises


def kernel(slots: int = 2, *, steerable: bool = True, **policy: Any) -> FakeKernel:
    policy = {"shutdown_timeout": 30.0, **policy}
    one = FakeKernel(Supervisor(slots=slots, policy=Policy(**policy), steerable=steerable))
    one.boot_all()
    for process in one.serving:
        one.beat(process)
    return one


def stage(one: FakeKernel, process: Process) -> Stage:
    return one.supervisor.workers[process.worker].stage


# Scaling


def test_one_more_slot_is_bound_and_filled_at_once() -> None:
    one = kernel(slots=1)
    actions = one.feed(Scale(by=1))
    assert AddSlot() in actions
    assert any(isinstance(action, Spawn) and action.slot == 1 for action in actions)
    one.boot_all()
    assert len(one.serving) == 2


def test_a_slot_less_is_left_out_first_then_drained_then_closed() -> None:
    one = kernel(slots=2)
    last = one.by_slot(1, generation=1)
    assert one.feed(Scale(to=1))[-1] == Steer(((0, 1),))
    one.pass_time(SETTLE_S - 0.1)
    assert last.serves
    one.pass_time(0.1)
    assert last.drains
    assert one.slots == 2
    # Who waits in its queue is the drained worker's to let in: it would be lost with an adopter.
    assert one.adopted == {}
    one.drain(last)
    assert one.slots == 1
    assert one.out == frozenset()


def test_scaling_goes_from_one_to_the_limit() -> None:
    one = kernel(slots=1)
    one.feed(Scale(by=-1))
    assert one.supervisor.active == 1
    one.feed(Scale(to=100_000))
    assert one.supervisor.wanted == one.supervisor.active == MOST_SLOTS


def test_up_again_before_it_was_closed_changes_nobody() -> None:
    one = kernel(slots=2)
    before = {process.worker for process in one.serving}
    one.feed(Scale(to=1))
    one.pass_time(SETTLE_S / 2)
    one.feed(Scale(to=2))
    one.pass_time(10.0)
    assert {process.worker for process in one.serving} == before
    assert one.out == frozenset()


def test_a_slot_that_cannot_be_bound_is_given_up() -> None:
    one = kernel(slots=1)
    one.can_bind = False
    one.feed(Scale(to=3))
    one.come_to_rest()
    assert one.supervisor.wanted == 1
    assert one.supervisor.active == 1
    assert len(one.processes) == 1


def test_without_steering_a_slot_less_drains_at_once() -> None:
    one = kernel(slots=2, steerable=False)
    actions = one.feed(Scale(to=1))
    assert one.by_slot(1, generation=1).drains
    assert not any(isinstance(action, Steer) for action in actions)


# Recycling


@pytest.mark.parametrize(
    ("policy", "beat"),
    [
        ({"max_requests": 100}, {"requests": 200}),
        ({"max_requests": 100}, {"messages": 200}),
        ({"max_requests": 100}, {"requests": 100, "messages": 100}),
        ({"max_worker_memory": 100}, {"memory": 100}),
    ],
)
def test_a_tired_worker_goes_when_its_successor_serves(
    policy: dict[str, Any], beat: dict[str, int]
) -> None:
    one = kernel(**policy)
    old = one.by_slot(0, generation=1)
    one.beat(old, **beat)
    new = one.by_slot(0, generation=1)
    assert new is not old
    assert old.serves
    one.boot_all()
    assert old.drains
    assert new.serves
    assert len(one.processes) == 3


def test_workers_tire_one_after_the_other() -> None:
    one = kernel(slots=3, max_requests=100)
    for process in one.serving:
        one.beat(process, requests=1000)
    assert len(one.processes) == 4
    one.boot_all()
    one.drain_all()
    assert len(one.processes) == 4
    one.boot_all()
    one.drain_all()
    one.boot_all()
    one.drain_all()
    assert len(one.processes) == 3
    assert one.spawned == 6


def test_a_worker_tires_of_age_by_itself() -> None:
    one = kernel(slots=1, max_worker_age=100.0)
    one.pass_time(99.0)
    assert one.spawned == 1
    one.pass_time(1.0 + 100.0 * SPREAD)
    assert one.spawned == 2


def test_workers_of_one_birth_reach_their_limits_one_after_the_other() -> None:
    one = kernel(slots=8, max_worker_age=100.0)
    workers = one.supervisor.workers.values()
    limits = {worker.age_limit(one.supervisor.policy) - worker.serving_since for worker in workers}
    assert len(limits) == 8
    assert min(limits) >= 100.0
    assert max(limits) <= 100.0 * (1 + SPREAD)


def test_a_successor_that_fails_leaves_the_old_one_in_place() -> None:
    one = kernel(slots=1, max_requests=100)
    old = one.by_slot(0, generation=1)
    one.beat(old, requests=1000)
    one.fail(one.by_slot(0, generation=1))
    assert old.serves
    one.pass_time(BACK_OFF_LIMIT_S)
    assert old.serves


# Stalls


def stall(one: FakeKernel, process: Process, *, waiting: int = 3) -> None:
    """Silence of one while all others beat, until it must have been noticed."""
    one.waiting = waiting
    until = one.now + BEAT_S + LATE_S
    while one.now < until:
        one.pass_time(min(BEAT_S, until - one.now))
        for other in one.serving:
            if other is not process:
                one.beat(other)


def test_who_is_silent_while_clients_wait_is_left_out_and_his_queue_looked_after() -> None:
    one = kernel(slots=2)
    stalled = one.by_slot(0, generation=1)
    stall(one, stalled)
    assert one.out == {0}
    assert one.adopted == {0: one.by_slot(1, generation=1).worker}
    one.beat(stalled)
    assert (one.out, one.adopted) == (frozenset(), {})


def test_who_is_silent_while_nobody_waits_is_looked_at_again() -> None:
    one = kernel(slots=2)
    silent = one.by_slot(0, generation=1)
    stall(one, silent, waiting=0)
    assert one.out == frozenset()
    one.waiting = 1
    one.pass_time(PROBE_S)
    assert 0 in one.out


def test_nobody_is_left_out_when_all_are_stalled() -> None:
    one = kernel(slots=2)
    one.waiting = 1
    one.pass_time(10.0)
    assert (one.out, one.adopted) == (frozenset(), {})
    assert len(one.serving) == 2


def test_nobody_is_probed_where_the_kernel_cannot_be_told() -> None:
    one = kernel(slots=2, steerable=False)
    one.waiting = 1
    one.now += 10.0
    assert not any(isinstance(action, Probe) for action in one.feed(Tick()))


def test_a_new_adopter_is_found_when_the_first_one_dies() -> None:
    one = kernel(slots=3)
    stalled = one.by_slot(0, generation=1)
    stall(one, stalled)
    first = one.adopted[0]
    one.crash(one.processes[first])
    assert one.adopted[0] != first


def test_a_slot_that_waits_for_its_next_worker_is_left_out() -> None:
    one = kernel(slots=2)
    while not one.out:
        one.boot_all()
        for process in [*one.serving]:
            if process.slot == 0:
                one.crash(process)
        if not one.out:
            one.pass_time(GAP_S)
    assert one.out == {0}
    assert 0 in one.adopted
    one.come_to_rest()
    assert (one.out, one.adopted) == (frozenset(), {})
    assert len(one.serving) == 2


# Workers that hang


def test_who_hangs_is_asked_then_aborted_then_killed() -> None:
    one = kernel(slots=2, worker_timeout=5.0, steerable=False)
    hung = one.by_slot(0, generation=1)
    asked: list[object] = []
    while one.now < 1000.0 + 5.0:
        one.pass_time(BEAT_S)
        one.beat(one.by_slot(1, generation=1))
    assert stage(one, hung) is Stage.HUNG
    one.now += ASK_S
    asked = [action for action in one.feed(Tick()) if not isinstance(action, Spawn)]
    assert Abort(hung.worker) in asked
    assert one.by_slot(0, generation=1) is not hung, "its successor is under way"
    one.now += ABORT_S
    assert Kill(hung.worker) in one.feed(Tick())


def test_who_hangs_and_answers_again_is_left_alone() -> None:
    one = kernel(slots=1, worker_timeout=5.0)
    hung = one.by_slot(0, generation=1)
    one.now += 5.0
    assert Ask(hung.worker) in one.feed(Tick())
    one.beat(hung)
    assert stage(one, hung) is Stage.SERVING
    one.pass_time(4.0)
    assert hung.serves


def test_time_in_which_the_master_stood_still_is_nobodys_silence() -> None:
    one = kernel(slots=2, worker_timeout=5.0)
    one.now += 60.0
    one.feed(Slept(60.0))
    assert {stage(one, process) for process in one.serving} == {Stage.SERVING}


def test_a_release_is_told_once_and_only_to_the_living() -> None:
    one = kernel(slots=2)
    stalled = one.by_slot(0, generation=1)
    stall(one, stalled)
    adopter = one.adopted[0]
    actions = one.feed(Scale(to=1))
    assert Adopt(adopter, 0) not in actions
    assert not [action for action in actions if isinstance(action, CloseSlot)]
    one.beat(stalled)
    assert not [action for action in one.feed(Tick()) if isinstance(action, Release)]
