"""Slots and generations, one story at a time; any order of events is in test_state_orders.py."""

from __future__ import annotations

import pytest

from pounce import ipc
from pounce.errors import EXIT_BOOT, EXIT_LIFESPAN, EXIT_LOAD
from pounce.supervisor.crew import GRACE_S, RELOAD_SPACING_S, Policy
from pounce.supervisor.orders import (
    Exited,
    HungUp,
    NotForked,
    Said,
    Serving,
    Spawn,
    Tell,
    Tick,
)
from pounce.supervisor.stages import NEXT_STAGE, Cue, Stage
from pounce.supervisor.state import Supervisor
from tests.support.fake_kernel import FakeKernel

START_TIMEOUT = 60.0
SHUTDOWN_TIMEOUT = 30.0

# One row for each stage, one column for each cue. "doomed" where the table says nothing: the
# worker is broken.
GRID = """
          ready    go      accepting pause  silent revived leave    retire   overdue
booting   ready    doomed  doomed    doomed doomed doomed  leaving  draining doomed
ready     doomed   opening doomed    doomed doomed doomed  leaving  draining doomed
opening   doomed   doomed  serving   doomed doomed doomed  leaving  draining doomed
serving   doomed   doomed  doomed    paused hung   doomed  leaving  draining doomed
paused    doomed   opening doomed    doomed doomed doomed  leaving  draining doomed
hung      doomed   doomed  doomed    doomed doomed serving leaving  draining aborted
leaving   doomed   doomed  doomed    doomed doomed doomed  leaving  draining doomed
draining  draining doomed  draining  doomed doomed doomed  draining draining doomed
aborted   doomed   doomed  doomed    doomed doomed doomed  aborted  doomed   doomed
doomed    doomed   doomed  doomed    doomed doomed doomed  doomed   doomed   doomed
"""


def cells() -> list[tuple[Stage, Cue, Stage]]:
    head, *rows = [line.split() for line in GRID.strip().splitlines()]
    return [
        (Stage(row[0]), Cue(cue), Stage(after))
        for row in rows
        for cue, after in zip(head, row[1:], strict=True)
    ]


def kernel(slots: int = 2) -> FakeKernel:
    return FakeKernel(
        Supervisor(
            slots=slots,
            policy=Policy(start_timeout=START_TIMEOUT, shutdown_timeout=SHUTDOWN_TIMEOUT),
        )
    )


def serving_kernel(slots: int = 2) -> FakeKernel:
    one = kernel(slots)
    one.boot_all()
    one.pass_time(RELOAD_SPACING_S)
    assert len(one.serving) == slots
    return one


def texts(one: FakeKernel, level: str) -> list[str]:
    return [note.text for note in one.notes if note.level == level]


@pytest.mark.parametrize(("stage", "cue", "after"), cells())
def test_every_stage_answers_every_cue(stage: Stage, cue: Cue, after: Stage) -> None:
    assert NEXT_STAGE.get((stage, cue), Stage.DOOMED) is after


def test_the_grid_leaves_no_pair_out() -> None:
    assert {(stage, cue) for stage, cue, _ in cells()} == {(s, c) for s in Stage for c in Cue}


# Start


def test_the_first_event_forks_a_worker_for_each_slot() -> None:
    actions = Supervisor(slots=3, policy=Policy(start_timeout=1.0, shutdown_timeout=1.0)).handle(
        Tick(), 0.0
    )
    assert actions == [Spawn(1, 0, 1), Spawn(2, 1, 1), Spawn(3, 2, 1)]


def test_nobody_accepts_before_all_are_ready() -> None:
    one = kernel(slots=2)
    first, second = one.processes.values()
    assert one.feed(Said(first.worker, ipc.Ready())) == []
    assert one.feed(Said(second.worker, ipc.Ready())) == [
        Tell(first.worker, ipc.Go()),
        Tell(second.worker, ipc.Go()),
    ]


def test_serving_is_said_once_when_the_last_worker_accepts() -> None:
    one = kernel(slots=2)
    one.pass_time(2.0)
    first, second = one.processes.values()
    one.boot(first)
    one.boot(second)
    one.accept(first)
    assert one.served == []
    assert one.feed(Said(second.worker, ipc.Accepting())) == [Serving(1, after_s=2.0)]


@pytest.mark.parametrize("code", [EXIT_LOAD, EXIT_LIFESPAN])
def test_a_failing_first_start_ends_the_server_with_the_code_of_the_worker(code: int) -> None:
    one = kernel(slots=2)
    broken, other = one.processes.values()
    one.fail(broken, code)
    assert other.drains
    one.drain(other)
    assert one.status == code
    (note,) = (note for note in one.notes if note.trace)
    assert (note.text, note.trace) == ("worker failed: no module named shop", "Traceback")
    assert one.notes[-1].text == (
        f"the server cannot start: worker failed: no module named shop (code={code})"
    ), "the last line says why"
    assert one.spawned == 2, "nobody is forked again for code that cannot start"


def test_a_death_before_ready_ends_the_first_start() -> None:
    one = kernel(slots=1)
    one.crash(one.by_slot(0, generation=1), signal="SIGSEGV")
    assert one.status == EXIT_BOOT
    assert one.notes[-1].text == "the server cannot start: worker died (signal=SIGSEGV)"


def test_a_first_start_without_an_end_is_killed_and_ends_the_server() -> None:
    one = kernel(slots=2)
    one.boot(one.by_slot(0, generation=1))
    one.pass_time(START_TIMEOUT)
    assert one.by_slot(1, generation=1).killed
    assert one.by_slot(0, generation=1).drains
    one.reap_killed()
    one.drain_all()
    assert one.status == EXIT_BOOT


def test_a_first_start_in_which_nobody_ends_is_one_failure() -> None:
    one = kernel(slots=2)
    one.pass_time(START_TIMEOUT)
    one.reap_killed()
    assert one.status == EXIT_BOOT
    assert sum("the server cannot start" in text for text in texts(one, "error")) == 1


def test_a_worker_that_never_opens_after_go_is_killed() -> None:
    one = kernel(slots=1)
    one.boot(one.by_slot(0, generation=1))
    one.pass_time(START_TIMEOUT)
    assert one.by_slot(0, generation=1).killed
    assert "worker is opening for too long, killing it" in texts(one, "error")


def test_a_worker_may_wait_for_its_sisters_longer_than_for_itself() -> None:
    one = kernel(slots=2)
    one.boot(one.by_slot(0, generation=1))
    one.pass_time(START_TIMEOUT - 1)
    one.boot(one.by_slot(1, generation=1))
    one.pass_time(START_TIMEOUT - 1)
    one.boot_all()
    assert one.served == [1]


def test_a_first_start_that_cannot_fork_ends_the_server() -> None:
    supervisor = Supervisor(slots=1, policy=Policy(start_timeout=1.0, shutdown_timeout=1.0))
    supervisor.handle(Tick(), 0.0)
    supervisor.handle(NotForked(1, "no room"), 0.0)
    assert supervisor.finished
    assert supervisor.ending
    assert supervisor.ending.status == EXIT_BOOT


def test_a_worker_that_says_ready_twice_is_killed() -> None:
    one = serving_kernel(slots=1)
    broken = one.by_slot(0, generation=1)
    one.feed(Said(broken.worker, ipc.Ready()))
    assert broken.killed
    assert "worker is serving but ready came, killing it" in texts(one, "error")
    assert len(one.processes) == 2, "and replaced"


# Death of a worker


def test_a_dead_worker_is_replaced_at_once_and_goes_without_waiting_for_others() -> None:
    one = serving_kernel(slots=2)
    one.pass_time(3600.0)
    one.crash(one.by_slot(1, generation=1))
    heir = one.by_slot(1, generation=1)
    one.boot(heir)
    assert heir.may_accept
    assert one.served == [1], "it is no new generation"


def test_the_cause_of_death_is_named() -> None:
    one = serving_kernel(slots=1)
    one.feed(Exited(one.by_slot(0, generation=1).worker, None, "SIGKILL", "out of memory?"))
    (note,) = (note for note in one.notes if note.text == "worker died")
    assert note.fields == {"signal": "SIGKILL", "hint": "out of memory?"}
    one.feed(Exited(one.by_slot(0, generation=1).worker, 7))
    assert one.notes[-2].fields == {"status": 7}


def test_a_slot_whose_workers_keep_dying_waits_longer_each_time_and_never_for_ever() -> None:
    one = serving_kernel(slots=2)
    waits = []
    for _ in range(10):
        one.crash(one.by_slot(0, generation=1))
        before = one.now
        while not [each for each in one.processes.values() if each.slot == 0]:
            one.pass_time((one.supervisor.next_deadline() or one.now) - one.now)
        waits.append(round(one.now - before, 1))
        one.boot(one.by_slot(0, generation=1))
        one.accept(one.by_slot(0, generation=1))
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert one.by_slot(1, generation=1).serves, "the other slot has no part in it"
    assert one.status is None


def test_a_good_life_ends_the_back_off() -> None:
    one = serving_kernel(slots=1)
    for _ in range(4):
        one.crash(one.by_slot(0, generation=1))
        one.pass_time(0.5)
        one.boot_all()
    one.pass_time(10.0)
    one.crash(one.by_slot(0, generation=1))
    assert len(one.processes) == 1, "replaced at once"


def test_a_replacement_that_cannot_start_waits_and_the_server_goes_on() -> None:
    one = serving_kernel(slots=2)
    one.crash(one.by_slot(0, generation=1))
    one.fail(one.by_slot(0, generation=1))
    assert len(one.processes) == 1
    one.pass_time(0.1)
    assert len(one.processes) == 2
    assert one.status is None


def test_a_replacement_that_cannot_be_forked_is_tried_again() -> None:
    one = serving_kernel(slots=2)
    one.can_fork = False
    one.crash(one.by_slot(0, generation=1))
    assert len(one.processes) == 1
    one.pass_time(5.0)
    one.can_fork = True
    one.pass_time(10.0)
    one.boot_all()
    assert len(one.serving) == 2


def test_a_replacement_that_is_not_ready_in_time_is_killed_and_replaced() -> None:
    one = serving_kernel(slots=1)
    one.crash(one.by_slot(0, generation=1))
    one.pass_time(START_TIMEOUT)
    one.reap_killed()
    one.pass_time(1.0)
    one.boot_all()
    assert len(one.serving) == 1


def test_a_worker_that_somebody_else_told_to_go_has_a_successor_while_it_drains() -> None:
    one = serving_kernel(slots=1)
    leaver = one.by_slot(0, generation=1)
    one.feed(Said(leaver.worker, ipc.Draining(3, 0)))
    assert len(one.processes) == 2
    one.boot_all()
    assert len(one.serving) == 2, "the fake does not know that the first one drains"
    one.feed(Exited(leaver.worker, 0))
    assert len(one.processes) == 1
    assert texts(one, "warning") == []


def test_a_worker_that_goes_by_itself_without_an_end_is_killed() -> None:
    one = serving_kernel(slots=1)
    leaver = one.by_slot(0, generation=1)
    one.feed(HungUp(leaver.worker))
    one.pass_time(SHUTDOWN_TIMEOUT + GRACE_S)
    assert leaver.killed


def test_a_heartbeat_is_kept_and_changes_nothing_else() -> None:
    one = serving_kernel(slots=1)
    worker = one.by_slot(0, generation=1).worker
    beat = ipc.Heartbeat(1.0, connections=3, accepted=9, requests=14, in_flight=1, memory=0)
    one.now += 0.5
    assert one.feed(Said(worker, beat)) == []
    assert one.supervisor.workers[worker].heartbeat == beat
    assert one.supervisor.workers[worker].heard_at == one.now


def test_words_of_a_worker_that_has_been_buried_are_ignored() -> None:
    one = serving_kernel(slots=1)
    for event in (
        Said(99, ipc.Ready()),
        Said(99, ipc.Heartbeat(1.0, 0, 0, 0, 0, 0)),
        HungUp(99),
        NotForked(99, "no room"),
    ):
        assert one.feed(event) == []
    assert one.supervisor.handle(Exited(99, 0), one.now) == []
