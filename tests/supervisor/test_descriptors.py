"""Who holds what: descriptors of workers and master, and what is left when the master dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pounce import ipc
from pounce.errors import EXIT_LOAD
from pounce.scoreboard import Scoreboard
from tests.support.master import PATIENCE, Start, Talk, good, started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

PR_SET_CHILD_SUBREAPER = 36


def open_files(pid: int) -> Counter[str]:
    """What a process has open, by kind: "socket", "pipe", "anon_inode" ..."""
    kinds = Counter[str]()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kinds[os.readlink(entry).partition(":")[0]] += 1
        except FileNotFoundError:
            continue  # what listed the directory
    return kinds


def test_a_worker_holds_its_own_channel_and_its_own_listener_and_no_others(
    start: Start, tmp_path: Path
) -> None:
    before = open_files(os.getpid())

    def entry(seat: ipc.Seat) -> int:
        if seat.slot < 2:
            return good(seat)
        mine = open_files(os.getpid())
        text = f"sockets={mine['socket']} pipes={mine['pipe']} loops={mine['anon_inode']}"
        Talk(seat).say(ipc.Failed(EXIT_LOAD, text, ""))
        return EXIT_LOAD

    master = start(entry, slots=3, reload_dirs=[tmp_path])
    assert master.end() == EXIT_LOAD
    # The channel, the copy of it that watches for the master's end, one listener; the log's pipe.
    expected = (
        f"sockets={before['socket'] + 3} pipes={before['pipe'] + 1} loops={before['anon_inode']}"
    )
    assert master.find(expected), master.story


def test_reloads_and_deaths_leave_nothing_open_in_the_master(start: Start) -> None:
    master = start(good, slots=1, records=3)
    master.wait_for("serving on")
    before = open_files(master.pid)
    for generation in (2, 3):
        master.tell(signal.SIGHUP)
        master.wait_for(f"generation={generation} after_s")
        master.wait_for("worker is gone", times=generation - 1)
    victim = master.pids_of("forked a worker")[-1]
    os.kill(victim, signal.SIGKILL)
    master.wait_for(f"worker died slot=0 pid={victim}")
    master.wait_for("forked a worker", times=4)
    master.tell(signal.SIGHUP)
    master.wait_for("generation=4 after_s")
    master.wait_for("worker is gone", times=3)
    os.kill(master.pid, signal.SIGHUP)  # its line in the log is written after all of that is done
    master.wait_for("received SIGHUP", times=4)
    assert open_files(master.pid) == before
    assert master.stop() == 0


def test_the_record_of_a_worker_is_cleared_when_it_is_gone(start: Start) -> None:
    scoreboard = Scoreboard(4)

    def entry(seat: ipc.Seat) -> int:
        scoreboard.set_connections(seat.record, 5)
        return good(seat)

    master = start(entry, slots=2, scoreboard=scoreboard)
    master.wait_for("serving on")
    assert scoreboard.total_connections() == 10
    assert master.stop() == 0
    assert scoreboard.total_connections() == 0


def test_workers_go_when_the_master_is_killed(start: Start) -> None:
    master = start(good, slots=3)
    master.wait_for("serving on")
    master.tell(signal.SIGKILL)
    assert master.end() is None  # end() returns when nobody is left


def test_workers_go_when_the_master_is_killed_though_they_are_blocked(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        started(seat)
        time.sleep(10 * PATIENCE)
        return 0

    master = start(entry, slots=2)
    master.wait_for("serving on")
    master.tell(signal.SIGKILL)
    assert master.end() is None


def test_as_process_1_it_reaps_whom_it_never_started(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        if os.fork() == 0:
            os.fork()  # this one outlives the other, or not: both end up with the master
            os._exit(4)
        return good(seat)

    def become_reaper() -> None:
        assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

    master = start(entry, slots=1, before=become_reaper)
    master.wait_for("serving on")
    master.wait_for("reaped a process that is none of ours")
    assert master.stop() == 0
    assert not master.find("worker died")
