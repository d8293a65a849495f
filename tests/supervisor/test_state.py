"""Slots and generations, one story at a time; any order of events is in test_state_orders.py."""

from __future__ import annotations

import pytest

from pounce import ipc
from pounce.errors import EXIT_BOOT, EXIT_LIFESPAN, EXIT_LOAD, EXIT_OK
from pounce.supervisor.crew import GRACE_S, RELOAD_SPACING_S
from pounce.supervisor.orders import (
    Exited,
    HungUp,
    NotForked,
    Reload,
    Said,
    Serving,
    Spawn,
    Stop,
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
           ready     go        accepting leave     retire    overdue
booting    ready     doomed    doomed    leaving   draining  doomed
ready      doomed    opening   doomed    leaving   draining  doomed
opening    doomed    doomed    serving   leaving   draining  doomed
serving    doomed    doomed    doomed    leaving   draining  doomed
leaving    doomed    doomed    doomed    leaving   draining  doomed
draining   draining  doomed    draining  draining  draining  doomed
doomed     doomed    doomed    doomed    doomed    doomed    doomed
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
        Supervisor(slots=slots, start_timeout=START_TIMEOUT, shutdown_timeout=SHUTDOWN_TIMEOUT)
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
    actions = Supervisor(slots=3, start_timeout=1.0, shutdown_timeout=1.0).handle(Tick(), 0.0)
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
    assert one.spawned == 2, "nobody is forked again for code that cannot start"


def test_a_death_before_ready_ends_the_first_start() -> None:
    one = kernel(slots=1)
    one.crash(one.by_slot(0, generation=1), signal="SIGSEGV")
    assert one.status == EXIT_BOOT


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
    assert texts(one, "error").count("the server cannot start") == 1


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
    supervisor = Supervisor(slots=1, start_timeout=1.0, shutdown_timeout=1.0)
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
    one.feed(Exited(one.by_slot(0, generation=1).worker, None, "SIGKILL"))
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
    beat = ipc.Heartbeat(connections=3, requests=14, in_flight=1)
    one.now += 0.5
    assert one.feed(Said(worker, beat)) == []
    assert one.supervisor.workers[worker].heartbeat == beat
    assert one.supervisor.workers[worker].heard_at == one.now


def test_words_of_a_worker_that_has_been_buried_are_ignored() -> None:
    one = serving_kernel(slots=1)
    for event in (
        Said(99, ipc.Ready()),
        Said(99, ipc.Heartbeat(0, 0, 0)),
        HungUp(99),
        NotForked(99, "no room"),
    ):
        assert one.feed(event) == []
    assert one.supervisor.handle(Exited(99, 0), one.now) == []


# Reload


def test_a_reload_retires_the_old_workers_only_when_all_new_ones_accept() -> None:
    one = serving_kernel(slots=2)
    old = [*one.processes.values()]
    one.feed(Reload())
    one.boot(one.by_slot(0, generation=2))
    assert not one.by_slot(0, generation=2).may_accept
    one.boot(one.by_slot(1, generation=2))
    one.accept(one.by_slot(0, generation=2))
    assert not any(process.drains for process in old)
    one.accept(one.by_slot(1, generation=2))
    assert [process.inbox[-1] for process in old] == [ipc.Drain("reload", SHUTDOWN_TIMEOUT)] * 2
    one.drain_all()
    assert {process.generation for process in one.processes.values()} == {2}
    assert one.served == [1, 2]


@pytest.mark.parametrize("how", ["fails", "dies", "hangs", "dies after go", "cannot be forked"])
def test_a_broken_reload_leaves_the_old_generation_alone(how: str) -> None:
    one = serving_kernel(slots=2)
    old = [*one.processes.values()]
    one.can_fork = how != "cannot be forked"
    one.feed(Reload())
    match how:
        case "fails":
            one.fail(one.by_slot(1, generation=2))
        case "dies":
            one.crash(one.by_slot(1, generation=2))
        case "hangs":
            one.pass_time(START_TIMEOUT)
            one.reap_killed()
        case "dies after go":
            one.boot(one.by_slot(0, generation=2))
            one.boot(one.by_slot(1, generation=2))
            one.accept(one.by_slot(0, generation=2))
            one.crash(one.by_slot(1, generation=2))
    assert "reload failed, the old code serves on" in texts(one, "error")
    one.drain_all()
    assert one.serving == old
    assert [*one.processes.values()] == old
    assert one.supervisor.next_deadline() is None, "nothing more is planned"

    one.can_fork = True
    one.pass_time(2.0)
    one.feed(Reload())
    one.boot_all()
    one.drain_all()
    assert {process.generation for process in one.serving} == {3}, "the next reload works"


def test_the_loss_of_a_whole_generation_at_once_is_no_failure_of_the_old_slots() -> None:
    one = serving_kernel(slots=2)
    one.feed(Reload())
    one.pass_time(START_TIMEOUT)  # both are overdue at the same instant
    assert [process.killed for process in one.processes.values()] == [False, False, True, True]
    assert [slot.failures for slot in one.supervisor.slots] == [0, 0]


def test_a_reload_during_a_reload_gives_up_the_older_one() -> None:
    one = serving_kernel(slots=1)
    one.feed(Reload())
    one.pass_time(1.0)
    one.feed(Reload())
    assert one.by_slot(0, generation=2).drains
    one.boot_all()
    one.drain_all()
    assert one.served == [1, 3]
    assert [process.generation for process in one.serving] == [3]


def test_a_reload_while_generations_switch_keeps_the_serving_one() -> None:
    one = serving_kernel(slots=2)
    old = [*one.processes.values()]
    one.feed(Reload())
    one.pass_time(1.0)
    one.boot(one.by_slot(0, generation=2))
    one.boot(one.by_slot(1, generation=2))
    one.accept(one.by_slot(0, generation=2))
    one.feed(Reload())
    assert one.by_slot(0, generation=2).drains
    assert [process for process in one.serving if process.generation == 1] == old


def test_a_storm_of_reloads_is_two_reloads() -> None:
    one = serving_kernel(slots=1)
    for _ in range(50):
        one.feed(Reload())
        one.now += 0.01
    one.pass_time(1.0)
    one.boot_all()
    assert one.supervisor.newest == 3
    one.drain_all()
    assert [process.generation for process in one.serving] == [3]


def test_a_reload_before_the_first_generation_serves_starts_the_newest_code() -> None:
    one = kernel(slots=1)
    one.feed(Reload())
    one.fail(one.by_slot(0, generation=1))
    assert one.status is None, "the code that is wanted is newer than what failed"
    one.pass_time(1.0)
    one.boot_all()
    assert one.served == [2]


def test_a_worker_of_the_old_code_is_replaced_during_a_reload() -> None:
    one = serving_kernel(slots=1)
    one.feed(Reload())
    one.crash(one.by_slot(0, generation=1))
    assert sorted(process.generation for process in one.processes.values()) == [1, 2]


def test_a_drain_that_does_not_end_is_killed_after_its_time() -> None:
    one = serving_kernel(slots=1)
    old = one.by_slot(0, generation=1)
    one.feed(Reload())
    one.boot_all()
    one.pass_time(SHUTDOWN_TIMEOUT + GRACE_S - 0.1)
    assert one.lives(old)
    one.pass_time(0.1)
    assert not one.lives(old)


def test_a_back_off_ends_with_the_generation_that_caused_it() -> None:
    one = serving_kernel(slots=1)
    for _ in range(6):
        one.crash(one.by_slot(0, generation=1))
        one.pass_time(2.0)
        one.boot_all()
    one.feed(Reload())
    one.boot_all()
    one.drain_all()
    one.crash(one.by_slot(0, generation=2))
    assert len(one.processes) == 1, "replaced at once"


# Stop


def test_a_stop_gives_every_worker_the_shutdown_timeout_and_ends_with_0() -> None:
    one = serving_kernel(slots=2)
    one.feed(Stop())
    assert [process.inbox[-1] for process in one.processes.values()] == [
        ipc.Drain("exit", SHUTDOWN_TIMEOUT)
    ] * 2
    one.drain_all()
    assert one.status == EXIT_OK
    assert one.feed(Tick()) == []
    assert one.supervisor.next_deadline() is None


def test_clients_are_refused_from_the_moment_that_nobody_accepts() -> None:
    one = serving_kernel(slots=2)
    one.feed(Stop())
    first, second = one.processes.values()
    one.feed(Said(first.worker, ipc.Draining(1, 0)))
    assert one.listens()
    one.feed(Said(second.worker, ipc.Draining(1, 0)))
    assert not one.listens()
    assert one.status is None


def test_a_worker_that_never_hears_is_killed_and_the_stop_still_ends_with_0() -> None:
    one = serving_kernel(slots=1)
    one.feed(Stop())
    one.pass_time(SHUTDOWN_TIMEOUT + GRACE_S)
    one.reap_killed()
    assert one.status == EXIT_OK
    assert not one.listens()


def test_a_second_stop_leaves_a_second_and_a_third_none() -> None:
    one = serving_kernel(slots=1)
    worker = one.by_slot(0, generation=1)
    one.feed(Stop())
    one.pass_time(5.0)
    one.feed(Stop())
    assert worker.inbox[-1] == ipc.Drain("exit", 1.0)
    assert one.lives(worker)
    one.feed(Stop())
    assert not one.lives(worker)
    one.feed(Stop())
    one.reap_killed()
    assert one.status == EXIT_OK


def test_a_second_stop_never_gives_more_time() -> None:
    one = serving_kernel(slots=1)
    worker = one.by_slot(0, generation=1)
    one.feed(Stop())
    one.pass_time(SHUTDOWN_TIMEOUT - 0.5)
    one.feed(Stop())
    assert worker.inbox[-1] == ipc.Drain("exit", 0.5)


def test_a_stop_while_workers_boot_does_not_wait_for_them_for_long() -> None:
    one = kernel(slots=1)
    worker = one.by_slot(0, generation=1)
    one.feed(Stop())
    one.pass_time(5.0 + GRACE_S)
    assert not one.lives(worker)


def test_ready_that_crosses_the_stop_is_no_offence() -> None:
    one = kernel(slots=1)
    worker = one.by_slot(0, generation=1)
    one.feed(Stop())
    one.boot(worker)
    assert one.lives(worker)
    one.drain(worker)
    assert one.status == EXIT_OK


def test_a_stop_ends_reload_back_off_and_pending_reload_alike() -> None:
    one = serving_kernel(slots=2)
    one.feed(Reload())
    one.crash(one.by_slot(0, generation=1))
    one.fail(one.by_slot(0, generation=1))
    one.feed(Reload())
    one.feed(Stop())
    one.drain_all()
    assert one.status == EXIT_OK


def test_nobody_is_forked_after_a_stop() -> None:
    one = serving_kernel(slots=2)
    one.feed(Stop())
    one.crash(one.by_slot(0, generation=1))
    one.feed(Reload())
    one.pass_time(5.0)
    assert one.spawned == 2
    one.drain_all()
    assert one.status == EXIT_OK


def test_a_signal_during_a_failing_start_does_not_hide_the_failure() -> None:
    one = kernel(slots=2)
    one.fail(one.by_slot(0, generation=1))
    one.feed(Stop())
    one.drain_all()
    assert one.status == EXIT_LOAD


def test_a_leaving_worker_is_told_to_hurry_by_a_stop_but_gets_no_more_time() -> None:
    one = serving_kernel(slots=1)
    leaver = one.by_slot(0, generation=1)
    one.feed(Said(leaver.worker, ipc.Draining(1, 0)))
    one.pass_time(10.0)
    one.feed(Stop())
    assert leaver.inbox[-1] == ipc.Drain("exit", SHUTDOWN_TIMEOUT - 10.0)


def test_a_hurry_does_not_kill_the_doomed_again() -> None:
    one = serving_kernel(slots=2)
    broken = one.by_slot(0, generation=1)
    one.feed(Stop())
    one.feed(Said(broken.worker, ipc.Drained(cut=0)))
    one.pass_time(SHUTDOWN_TIMEOUT + GRACE_S)
    assert not one.lives(broken)
    one.feed(Stop())  # FakeKernel asserts that no process is killed twice
    one.reap_killed()
    assert one.status == EXIT_OK


def test_who_died_while_draining_is_in_the_log() -> None:
    one = serving_kernel(slots=1)
    worker = one.by_slot(0, generation=1).worker
    one.feed(Stop())
    one.feed(Exited(worker, None, "SIGABRT"))
    (note,) = (note for note in one.notes if note.level == "warning")
    assert (note.text, note.fields) == ("worker died while it drained", {"signal": "SIGABRT"})


def test_a_failure_is_not_told_twice() -> None:
    one = serving_kernel(slots=1)
    worker = one.by_slot(0, generation=1).worker
    one.feed(Said(worker, ipc.Draining(0, 0)))
    one.feed(Said(worker, ipc.Failed(EXIT_LIFESPAN, "shutdown raised", "")))
    assert texts(one, "error") == []
