"""What becomes of slots, settings and listeners when no template is there to make new workers."""

from __future__ import annotations

import pytest

from pounce import ipc
from pounce.supervisor.crew import (
    BACK_OFF_LIMIT_S,
    LATE_S,
    RELOAD_SPACING_S,
    SETTLE_S,
    Policy,
)
from pounce.supervisor.orders import Adopt, Reload, Said, Scale
from pounce.supervisor.slots import MOST_SLOTS
from pounce.supervisor.stages import Stage
from pounce.supervisor.state import Supervisor
from tests.support.fake_kernel import FakeKernel


@pytest.fixture
def kernel() -> FakeKernel:
    policy = Policy(shutdown_timeout=30.0)
    one = FakeKernel(Supervisor(slots=2, policy=policy, templates=True, steerable=True))
    one.boot_all()
    one.pass_time(RELOAD_SPACING_S)
    return one


def lose_template_and_code(kernel: FakeKernel) -> None:
    kernel.lose_template(1)
    kernel.fail_to_load(2)
    kernel.pass_time(RELOAD_SPACING_S)


def test_a_slot_that_no_template_can_fill_is_looked_after_by_others(kernel: FakeKernel) -> None:
    lose_template_and_code(kernel)
    sibling = kernel.by_slot(1, generation=1)
    kernel.crash(kernel.by_slot(0, generation=1))
    assert kernel.adopted == {0: sibling.worker}, "while the new code is imported"
    kernel.fail_to_load(3)
    kernel.pass_time(RELOAD_SPACING_S)
    assert kernel.adopted == {0: sibling.worker}, "and when that has failed"
    assert kernel.out == {0}


def test_a_slot_that_no_template_can_fill_is_filled_once_the_code_is_mended(
    kernel: FakeKernel,
) -> None:
    lose_template_and_code(kernel)
    kernel.crash(kernel.by_slot(0, generation=1))
    kernel.fail_to_load(3)
    for generation, pause in enumerate((2.0, 4.0, 8.0, BACK_OFF_LIMIT_S), start=4):
        kernel.pass_time(pause)
        kernel.fail_to_load(generation)
    kernel.pass_time(BACK_OFF_LIMIT_S)
    kernel.boot_all()
    assert {worker.slot for worker in kernel.serving if worker.generation == 8} == {0, 1}
    assert kernel.adopted == {}
    assert kernel.out == set()


def test_a_reload_need_not_wait_for_the_next_try_of_our_own(kernel: FakeKernel) -> None:
    lose_template_and_code(kernel)
    kernel.crash(kernel.by_slot(0, generation=1))
    kernel.fail_to_load(3)
    kernel.pass_time(RELOAD_SPACING_S)
    kernel.feed(Reload())
    kernel.boot_all()
    assert {worker.generation for worker in kernel.serving} == {4}
    kernel.drain_all()
    kernel.pass_time(10 * BACK_OFF_LIMIT_S)
    assert kernel.supervisor.newest == 4, "there is nothing left to try"


def test_settings_of_a_reload_that_failed_come_with_the_next_that_nobody_asked_for(
    kernel: FakeKernel,
) -> None:
    policy = Policy(shutdown_timeout=5.0)
    kernel.feed(Reload(policy, slots=3))
    kernel.fail_to_load(2)
    assert kernel.supervisor.policy != policy
    kernel.pass_time(RELOAD_SPACING_S)
    kernel.lose_template(1)
    kernel.boot_all()
    assert kernel.supervisor.serving == 3
    assert kernel.supervisor.policy == policy
    assert kernel.supervisor.active == 3


def test_settings_that_a_reload_brings_replace_those_of_one_that_failed(
    kernel: FakeKernel,
) -> None:
    kernel.feed(Reload(Policy(max_requests=1), slots=3))
    kernel.fail_to_load(2)
    kernel.pass_time(RELOAD_SPACING_S)
    kernel.feed(Reload(Policy(max_requests=2)))
    kernel.boot_all()
    assert kernel.supervisor.policy.max_requests == 2
    assert kernel.supervisor.active == 2


@pytest.mark.parametrize("closing", [False, True])
def test_a_slot_where_nobody_has_listened_is_adopted_by_nobody(
    kernel: FakeKernel, closing: bool
) -> None:
    done = kernel.feed(Scale(by=1))
    for _ in range(6):
        kernel.crash(kernel.by_slot(2, generation=1))
        kernel.pass_time(kernel.supervisor.slots[2].not_before - kernel.now)
    kernel.crash(kernel.by_slot(2, generation=1))  # and now it waits long
    if closing:
        done = kernel.feed(Scale(by=-1))
    assert not [action for action in done if isinstance(action, Adopt)]
    assert kernel.adopted == {}, "it would listen there, and nobody would know of it"


def test_a_slot_closes_only_when_a_paused_worker_has_let_go_of_it_too() -> None:
    policy = Policy(shutdown_timeout=30.0, probation=10.0)
    one = FakeKernel(Supervisor(slots=2, policy=policy, steerable=True))
    one.boot_all()
    one.pass_time(RELOAD_SPACING_S)
    one.feed(Reload())
    one.boot_all()
    one.feed(Scale(by=-1))
    one.pass_time(SETTLE_S)
    one.drain(one.by_slot(1, generation=2))
    assert one.slots == 2, "the kernel would still give it connections"
    one.drain(one.by_slot(1, generation=1))
    assert one.slots == 1


def test_a_heartbeat_costs_a_server_of_any_size_little() -> None:
    few, many = (comparisons(slots) for slots in (MOST_SLOTS // 8, MOST_SLOTS))
    assert many < 16 * few, "not the square of their number"


def comparisons(slots: int) -> int:
    """How often slots are compared to find out when the next deadline is."""
    seen = 0

    class Counted(int):
        __hash__ = int.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal seen
            seen += 1
            return int(self) == other

    supervisor = Supervisor(slots=slots, policy=Policy())
    kernel = FakeKernel(supervisor)
    kernel.boot_all()
    for worker in supervisor.workers.values():
        worker.slot = Counted(worker.slot)
    seen = slots
    supervisor.next_deadline()
    return seen


def test_an_idle_worker_need_not_speak_more_often_than_it_has_promised() -> None:
    policy = Policy(shutdown_timeout=30.0, worker_timeout=1.0)
    one = FakeKernel(Supervisor(slots=1, policy=policy))
    one.boot_all()
    worker = one.by_slot(0, generation=1)
    one.feed(Said(worker.worker, ipc.Heartbeat(1.0, 0, 0, 0, 0, 0)))
    one.pass_time(1.0 + LATE_S / 2)
    assert one.supervisor.workers[worker.worker].stage is Stage.SERVING
    one.pass_time(LATE_S)
    assert one.supervisor.workers[worker.worker].stage is Stage.HUNG
