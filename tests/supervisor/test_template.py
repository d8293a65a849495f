"""Workers that a template forks, and the template's own end: real processes under a real master."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pounce import ipc
from pounce.errors import EXIT_BOOT, EXIT_LOAD, LoadError
from tests.support.master import PATIENCE, Start, good
from tests.support.nursery import Reports, born, preload, reporting, sockets
from tests.support.serverlog import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="templates are Linux")


@pytest.fixture
def reports() -> Iterator[Reports]:
    with reporting() as one:
        yield one


def forever() -> None:
    time.sleep(10 * PATIENCE)


def parent_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))


# Workers


def test_a_worker_is_the_masters_child_and_has_what_the_template_has_loaded(
    start: Start, reports: Reports
) -> None:
    master = start(good, preload=preload(reports), slots=3)
    master.wait_for("serving on")
    template = reports.hear("template")
    workers = [reports.hear("worker") for _ in range(3)]
    assert template["ppid"] == master.pid
    for one in workers:  # once the process between the two has died, which it does at once
        wait_until(lambda pid=one["pid"]: parent_of(pid) == master.pid, "the master's child")  # type: ignore[misc]
    assert len({master.pid, template["pid"], *(one["pid"] for one in workers)}) == 5
    assert [one["loaded"] for one in workers] == [{"loaded by": template["pid"]}] * 3
    assert sorted(one["slot"] for one in workers) == [0, 1, 2]
    assert sorted(master.pids_of("forked a worker")) == sorted(one["pid"] for one in workers)
    assert master.stop() == 0
    assert not master.find("warning")


def test_a_worker_holds_its_own_sockets_and_nobody_elses(start: Start, reports: Reports) -> None:
    before = sockets()

    def holds(seat: ipc.Seat) -> list[list[int]]:
        own = [os.fstat(one).st_ino for one in (seat.control, *seat.listeners)]
        return [own, [one for one in sockets() if one not in before]]

    master = start(good, preload=preload(reports, first=holds), slots=3)
    master.wait_for("serving on")
    own: list[int] = []
    for _ in range(3):
        seat, all_ = reports.hear("worker")["extra"]
        assert all_ == sorted(seat), "the template's channel, or what it had for others"
        own += seat
    assert len(own) == len(set(own)) == 6, "a channel and a listener for each"
    assert master.stop() == 0


def test_a_worker_that_dies_is_followed_by_another_of_the_same_template(
    start: Start, reports: Reports
) -> None:
    master = start(good, preload=preload(reports), slots=1)
    master.wait_for("serving on")
    template = reports.hear("template")["pid"]
    os.kill(template, signal.SIGHUP)  # reaches it too when the whole group gets one
    os.kill(reports.hear("worker")["pid"], signal.SIGKILL)
    assert reports.hear("worker")["loaded"] == {"loaded by": template}
    master.wait_for("warning worker died")
    assert master.stop() == 0
    assert not master.find("template died")


def test_exit_handlers_of_the_import_run_in_each_worker(start: Start, reports: Reports) -> None:
    def load() -> None:
        atexit.register(lambda: reports.say("end"))

    master = start(good, preload=preload(reports, load=load), slots=2)
    master.wait_for("serving on")
    workers = {reports.hear("worker")["pid"] for _ in range(2)}
    assert master.stop() == 0
    assert workers < {one["pid"] for one in reports.rest() if one["who"] == "end"}


def test_a_worker_that_ends_without_a_word_counts_as_one_that_was_not_forked(
    start: Start, reports: Reports
) -> None:
    master = start(good, preload=preload(reports, run=lambda *_: 9), slots=1)
    assert master.end() == EXIT_BOOT
    assert master.find("error worker cannot be forked: it never came to life")


def test_a_worker_that_dies_before_it_accepts_ends_the_start(
    start: Start, reports: Reports
) -> None:
    def run(_: object, seat: ipc.Seat) -> int:
        born(seat)
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    master = start(good, preload=preload(reports, run=run), slots=1)
    assert master.end() == EXIT_BOOT
    assert master.find("signal=SIGKILL")


# Failed imports


def broken() -> None:
    raise LoadError("no module named shop", traceback="Traceback of it")


def test_an_import_that_fails_is_told_once_with_its_traceback(
    start: Start, reports: Reports
) -> None:
    master = start(good, preload=preload(reports, load=broken), slots=3)
    assert master.end() == EXIT_LOAD
    first, last = master.find("no module named shop")
    assert first.endswith(" generation=1 [Traceback of it]")
    assert last == "error the server cannot start: no module named shop status=3"
    assert not master.find("forked a worker")


@pytest.mark.parametrize("how", ["exits", "is killed"])
def test_an_import_that_ends_the_process_ends_the_start(
    start: Start, reports: Reports, how: str
) -> None:
    def load() -> None:
        if how == "exits":
            sys.exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

    master = start(good, preload=preload(reports, load=load))
    assert master.end() not in (0, None), master.story
    assert not master.find("forked a worker")


# The template's end


def test_the_template_of_the_old_code_goes_when_the_new_code_serves(
    start: Start, reports: Reports
) -> None:
    master = start(good, preload=preload(reports), slots=1)
    master.wait_for("serving on")
    old = reports.hear("template")["pid"]
    assert reports.hear("worker")["loaded"] == {"loaded by": old}
    master.tell(signal.SIGHUP)
    master.wait_for(f"reaped a process that is none of ours pid={old}")
    new = reports.hear("template")["pid"]
    assert new != old
    assert reports.hear("worker")["loaded"] == {"loaded by": new}
    assert master.stop() == 0
    assert not master.find("template died")


def test_a_template_that_is_still_importing_is_killed_by_a_stop(
    start: Start, reports: Reports
) -> None:
    def load() -> None:
        reports.say("importing")
        forever()

    master = start(good, preload=preload(reports, load=load))
    reports.hear("importing")
    master.stop()  # and with it, nobody is left
    assert not master.find("error")


def test_a_template_that_imports_for_too_long_is_killed_and_the_old_code_serves_on(
    start: Start, reports: Reports, tmp_path: Path
) -> None:
    hang = tmp_path / "hang"

    def load() -> None:
        reports.say("importing")
        if hang.exists():
            forever()

    master = start(good, preload=preload(reports, load=load), slots=1, start_timeout=1.0)
    master.wait_for("serving on")
    reports.hear("importing")
    hang.touch()
    master.tell(signal.SIGHUP)
    late = reports.hear("importing")["pid"]
    master.wait_for("error reload failed, the old code serves on")
    master.wait_for(f"reaped a process that is none of ours pid={late}")
    os.kill(reports.hear("worker")["pid"], signal.SIGKILL)
    assert reports.hear("worker")["loaded"] == {"loaded by": reports.hear("template")["pid"]}
    assert master.stop() == 0


def test_a_template_that_dies_is_followed_by_a_new_generation(
    start: Start, reports: Reports
) -> None:
    master = start(good, preload=preload(reports), slots=2)
    master.wait_for("serving on")
    os.kill(reports.hear("template")["pid"], signal.SIGKILL)
    master.wait_for("warning template died, reloading")
    assert "generation=2" in master.wait_for("serving on", times=2)
    new = reports.hear("template")["pid"]
    workers = [reports.hear("worker")["loaded"]["loaded by"] for _ in range(4)]
    assert workers.count(new) == 2
    assert master.stop() == 0
    assert not master.find("worker died")


@pytest.mark.parametrize("when", ["importing", "serving"])
def test_nobody_outlives_a_master_that_is_killed(start: Start, reports: Reports, when: str) -> None:
    def load() -> None:
        reports.say("importing")
        if when == "importing":
            forever()

    master = start(good, preload=preload(reports, load=load), slots=2)
    reports.hear("importing")
    if when == "serving":
        master.wait_for("serving on")
    master.tell(signal.SIGKILL)
    assert master.end() is None  # it returns when nobody is left who could write to the log
