"""Reloads on probation, reloads with little surge, stops with a delay: one story at a time."""

from __future__ import annotations

from typing import Any

from pounce import ipc
from pounce.supervisor.crew import GRACE_S, RELOAD_SPACING_S, Policy
from pounce.supervisor.orders import (
    Exited,
    HungUp,
    Note,
    Outcome,
    Reload,
    Said,
    Serving,
    Stop,
    Tell,
    Upgraded,
)
from pounce.supervisor.stages import Stage
from pounce.supervisor.state import Supervisor
from tests.support.fake_kernel import FakeKernel

PROBATION = 3.0


def kernel(slots: int = 2, **policy: Any) -> FakeKernel:
    policy = {"shutdown_timeout": 30.0, "probation": PROBATION, **policy}
    one = FakeKernel(Supervisor(slots=slots, policy=Policy(**policy), steerable=True))
    one.boot_all()
    one.pass_time(RELOAD_SPACING_S)
    return one


def reload(one: FakeKernel) -> None:
    one.feed(Reload())
    one.boot_all()


def stages(one: FakeKernel, generation: int) -> set[Stage]:
    return {
        worker.stage
        for worker in one.supervisor.workers.values()
        if worker.generation == generation
    }


def test_the_old_ones_wait_until_the_new_ones_have_lived_through_their_probation() -> None:
    one = kernel()
    reload(one)
    assert one.served == [1, 2]
    assert stages(one, 1) == {Stage.PAUSED}
    one.pass_time(PROBATION - 0.1)
    assert stages(one, 1) == {Stage.PAUSED}
    assert one.outcomes == []
    one.pass_time(0.1)
    assert stages(one, 1) == {Stage.DRAINING}
    assert one.outcomes == [(2, True)]


def test_a_new_worker_that_dies_in_its_probation_brings_the_old_ones_back() -> None:
    one = kernel()
    reload(one)
    one.pass_time(PROBATION / 2)
    one.crash(one.by_slot(0, generation=2))
    assert one.outcomes == [(2, False)]
    old = [one.by_slot(slot, generation=1) for slot in (0, 1)]
    assert all(process.may_accept for process in old)
    sister = one.by_slot(1, generation=2)
    assert sister.serves, "until the old one is back, somebody must"
    one.accept(old[1])
    assert sister.drains
    one.accept(old[0])
    one.drain_all()
    one.pass_time(100.0)
    assert {process.generation for process in one.serving} == {1}
    assert len(one.serving) == 2


def test_a_new_worker_that_dies_after_its_probation_is_replaced_by_its_like() -> None:
    one = kernel()
    reload(one)
    one.pass_time(PROBATION)
    one.drain_all()
    one.crash(one.by_slot(0, generation=2))
    one.boot_all()
    assert [process.generation for process in one.serving] == [2, 2]


def test_the_first_generation_has_no_probation() -> None:
    one = kernel()
    one.crash(one.by_slot(0, generation=1))
    one.boot_all()
    assert [process.generation for process in one.serving] == [1, 1]


def test_another_reload_ends_a_probation_for_good() -> None:
    one = kernel()
    reload(one)
    one.pass_time(RELOAD_SPACING_S)
    one.feed(Reload())
    assert stages(one, 1) == {Stage.DRAINING}
    assert one.outcomes == [(2, True)]
    one.fail(one.by_slot(0, generation=3))
    assert one.outcomes == [(2, True), (3, False)]
    one.boot_all()
    assert {process.generation for process in one.serving} == {2}


def test_with_a_surge_of_one_a_slot_follows_the_other() -> None:
    one = kernel(slots=3, max_surge=1, probation=0.0)
    one.feed(Reload())
    for slot in range(3):
        assert len(one.processes) == 4
        one.boot_all()
        assert one.by_slot(slot, generation=1).drains
        assert len(one.serving) == 3
        one.drain_all()
    assert {process.generation for process in one.serving} == {2}
    assert one.outcomes == [(2, True)]


def test_a_reload_that_fails_half_way_through_its_surge_is_taken_back() -> None:
    one = kernel(slots=2, max_surge=1)
    one.feed(Reload())
    one.boot_all()
    one.drain_all()
    assert sorted(process.generation for process in one.serving) == [1, 2]
    one.fail(one.by_slot(1, generation=2))
    assert len(one.serving) == 2, "the new one serves until an old one is back"
    one.come_to_rest()
    assert [process.generation for process in one.serving] == [1, 1]
    assert one.outcomes == [(2, False)]


def test_settings_that_come_with_a_reload_count_once_it_stays() -> None:
    one = kernel()
    policy = Policy(shutdown_timeout=5.0)
    one.feed(Reload(policy, slots=3))
    one.fail(one.by_slot(0, generation=2))
    one.pass_time(60.0)
    assert one.supervisor.policy.shutdown_timeout == 30.0
    assert one.supervisor.active == 2
    one.feed(Reload(policy, slots=3))
    one.boot_all()
    one.pass_time(PROBATION)
    assert one.supervisor.policy == policy
    one.boot_all()
    assert len(one.serving) == 3
    assert one.slots == 3


def test_a_stop_with_a_delay_goes_on_accepting_and_says_that_each_answer_is_the_last() -> None:
    one = kernel(drain_delay=5.0)
    workers = [process.worker for process in one.serving]
    actions = one.feed(Stop())
    for worker in workers:
        assert Tell(worker, ipc.LameDuck()) in actions
    one.pass_time(4.9)
    assert len(one.serving) == 2
    assert one.listens()
    one.pass_time(0.1)
    assert one.serving == []
    assert all(process.drains for process in one.processes.values())


def test_a_second_signal_ends_the_delay() -> None:
    one = kernel(drain_delay=5.0)
    one.feed(Stop())
    one.feed(Stop())
    assert one.serving == []
    one.pass_time(1.0 + GRACE_S)
    one.reap_killed()
    assert one.status == 0


def test_who_is_upgraded_retires_without_a_delay() -> None:
    one = kernel(drain_delay=5.0)
    one.feed(Upgraded())
    reasons = [message for process in one.processes.values() for message in process.inbox]
    assert ipc.Drain("upgrade", 30.0) in reasons
    one.drain_all()
    assert one.status == 0


def test_a_reload_says_when_it_serves_and_how_it_ended() -> None:
    one = kernel()
    one.feed(Reload())
    for process in [*one.processes.values()]:
        if not process.said_ready:
            one.boot(process)
    last: list[object] = []
    for process in [*one.processes.values()]:
        if process.may_accept:
            process.accepting = True
            last = list(one.feed(Said(process.worker, ipc.Accepting())))
    assert any(isinstance(action, Serving) for action in last)
    assert not any(isinstance(action, Note) and action.level == "error" for action in last)


def test_the_outcome_of_a_failed_reload_says_why() -> None:
    one = kernel()
    reload(one)
    victim = one.by_slot(0, generation=2).worker
    said = one.feed(Exited(victim, None, "SIGSEGV"))
    assert Outcome(2, "worker died (signal=SIGSEGV)") in said

    one.pass_time(RELOAD_SPACING_S)
    one.feed(Reload())
    starting = one.by_slot(0, generation=3).worker
    said = one.feed(Said(starting, ipc.Failed(4, "no database", "")))
    assert Outcome(3, "worker failed: no database (code=4)") in said


def test_a_reload_that_overtakes_the_start_has_an_outcome_too() -> None:
    one = FakeKernel(Supervisor(slots=1, policy=Policy()))
    one.feed(Reload())
    one.pass_time(RELOAD_SPACING_S)
    one.boot_all()
    assert one.served == [2]
    assert one.outcomes == [(2, True)]


def test_a_reload_whose_worker_only_hangs_up_fails_at_once_and_is_told_with_its_end() -> None:
    one = kernel()
    reload(one)
    victim = one.by_slot(0, generation=2).worker
    hung_up = one.feed(HungUp(victim))
    assert one.supervisor.coming == 0
    assert not any(isinstance(action, Outcome) for action in hung_up)
    assert Outcome(2, "worker died (status=9)") in one.feed(Exited(victim, 9))


def test_a_reload_whose_worker_is_told_to_go_by_a_stranger_says_so() -> None:
    one = kernel()
    reload(one)
    said = one.feed(Said(one.by_slot(0, generation=2).worker, ipc.Draining(1, 0)))
    assert Outcome(2, "a new worker goes, though nobody here has told it to") in said
