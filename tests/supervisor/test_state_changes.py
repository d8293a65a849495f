"""Reloads and stops, one story at a time; starts and deaths are in test_state.py."""

from __future__ import annotations

import pytest

from pounce import ipc
from pounce.errors import EXIT_LIFESPAN, EXIT_LOAD, EXIT_OK
from pounce.supervisor.crew import GRACE_S, WAITING_AGAIN_S, WAITING_S
from pounce.supervisor.orders import (
    Exited,
    Reload,
    Said,
    Stop,
    Tick,
)
from tests.supervisor.test_state import (
    SHUTDOWN_TIMEOUT,
    START_TIMEOUT,
    kernel,
    serving_kernel,
    texts,
)

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


WHY_OF = {
    "fails": "worker failed: no module named shop (code=3)",
    "dies": "worker died (signal=SIGKILL)",
    "hangs": "worker is booting for too long, killing it (waited_s=60.0, limit_s=60.0)",
    "dies after go": "worker died (signal=SIGKILL)",
    "cannot be forked": "worker cannot be forked: no room",
}


@pytest.mark.parametrize("how", WHY_OF)
def test_a_broken_reload_says_why_and_leaves_the_old_generation_alone(how: str) -> None:
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
    assert f"reload failed, the old code serves on: {WHY_OF[how]}" in texts(one, "error")
    assert one.outcomes == [(2, False)]
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


@pytest.mark.parametrize(
    ("stop", "reason"), [(Stop(), "exit"), (Stop(interrupt=True), "interrupt")]
)
def test_a_stop_gives_every_worker_the_shutdown_timeout_and_ends_with_0(
    stop: Stop, reason: str
) -> None:
    one = serving_kernel(slots=2)
    one.feed(stop)
    assert [process.inbox[-1] for process in one.processes.values()] == [
        ipc.Drain(reason, SHUTDOWN_TIMEOUT)
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


def test_a_stop_says_for_whom_it_waits_how_long_and_how_to_hurry_it() -> None:
    one = serving_kernel(slots=2)
    first, second = one.processes.values()
    one.feed(Stop())
    one.beat(first)
    one.beat(second)
    before = len(one.notes)
    one.pass_time(WAITING_S)
    one.drain(first)
    one.pass_time(WAITING_AGAIN_S)
    said = [note for note in one.notes[before:] if note.level == "info" and note.worker is None]
    text = "waiting for open connections, a second signal hurries"
    assert [(note.text, dict(note.fields)) for note in said] == [
        (
            text,
            {
                "workers": 2,
                "connections": 2,
                "websockets": 0,
                "left_s": SHUTDOWN_TIMEOUT - WAITING_S,
            },
        ),
        (
            text,
            {
                "workers": 1,
                "connections": 1,
                "websockets": 0,
                "left_s": SHUTDOWN_TIMEOUT - WAITING_S - WAITING_AGAIN_S,
            },
        ),
    ]


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
