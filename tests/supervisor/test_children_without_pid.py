"""Workers that have no pid yet, that lie about it, or that talk without end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from pounce import ipc
from pounce.asgi import Receive, Scope, Send
from pounce.config import Config
from pounce.errors import EXIT_BOOT
from pounce.scoreboard import Scoreboard
from pounce.worker.main import run_loaded
from tests.support.master import Start, good, started
from tests.support.nursery import preload, reporting
from tests.support.server import started as server_of
from tests.support.serverlog import wait_until

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="templates are Linux")


@linux_only
def test_a_worker_that_its_template_forks_too_late_is_nobodys(start: Start) -> None:
    with reporting() as reports:
        master = start(good, preload=preload(reports), slots=1, start_timeout=0.5)
        template = reports.hear("template")["pid"]
        master.wait_for("serving on")
        os.kill(template, signal.SIGSTOP)
        os.kill(reports.hear("worker")["pid"], signal.SIGKILL)
        master.wait_for("worker cannot be forked: its template did not get to it")
        os.kill(template, signal.SIGCONT)
        assert master.stop() == 0  # and waits for nobody


@linux_only
def test_a_stop_does_not_wait_for_a_template_that_does_nothing(start: Start) -> None:
    with reporting() as reports:
        master = start(good, preload=preload(reports), slots=1, shutdown_timeout=0.1)
        template = reports.hear("template")["pid"]
        master.wait_for("serving on")
        os.kill(template, signal.SIGSTOP)
        os.kill(reports.hear("worker")["pid"], signal.SIGKILL)
        master.wait_for("worker died")
        assert master.stop() == 0


@linux_only
def test_the_log_says_why_a_template_cannot_fork(start: Start) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "no room for processes")

    def load() -> None:
        os.fork = fork  # in the template, as where the user has too many processes

    with reporting() as reports:
        master = start(good, preload=preload(reports, load=load), slots=1)
        assert master.end() == EXIT_BOOT
    assert "fork failed slot=0" in master.find("no room for processes")[0]


@linux_only
def test_a_worker_that_nobody_waits_for_goes_in_silence() -> None:
    masters, control = socket.socketpair()
    masters.close()
    with control:
        seat = ipc.Seat(0, 1, 0, control.fileno(), ())
        assert run_loaded(Config(app="none:app"), Scoreboard(1), given, seat) == 0


async def given(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("it is not asked")


def test_a_worker_cannot_have_the_master_signal_others(start: Start) -> None:
    def liar(seat: ipc.Seat) -> int:
        os.write(seat.control, ipc.encode(ipc.Hello(-1 - seat.slot)))
        talk = started(seat)
        while not isinstance(talk.hear(), ipc.Drain):
            pass
        return 0

    master = start(liar, slots=2)
    master.wait_for("serving on")
    assert master.stop() == 0
    assert all(pid > 1 for pid in master.pids_of("worker is gone"))


def test_a_worker_that_talks_for_ever_stops_no_clock(start: Start) -> None:
    def chatter(seat: ipc.Seat) -> NoReturn:
        _channel = started(seat)
        os.set_blocking(seat.control, True)
        while True:
            os.write(seat.control, b"\n" * 1000)  # and reads nothing

    master = start(chatter, slots=6, shutdown_timeout=0.0)
    master.wait_for("serving on")
    assert master.stop() == 0
    assert master.find("worker does not go, killing it")


@linux_only
@pytest.mark.parametrize("way", ["auto", "off"])
def test_a_worker_holds_no_file_for_the_stacks_of_another(way: str) -> None:
    options = ("--workers", "3", "--preload", way, "--probation", "0")
    with server_of("probe", *options) as server:
        before = server.workers()
        server.signal(signal.SIGHUP)
        server.log.wait_for("serving on .* generation=2 ")
        wait_until(lambda: not {*before} & {*server.workers()}, "the old ones to go")
        for pid in server.workers():
            assert len(files_for_stacks(pid)) == 1


def files_for_stacks(pid: int) -> list[str]:
    links = (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    return [target for target in links if "pounce-stacks" in target]
