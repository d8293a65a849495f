"""How the master tells of a worker's violent end: its stacks, and what may have killed it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from pounce import ipc
from pounce.supervisor import children
from pounce.supervisor.oom import OomKills
from tests.support.master import Start, good, started
from tests.support.nursery import preload, reporting
from tests.support.server import started as server_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a file without a name is Linux")

SITE: Final = """
import os, signal

def fatal(number):
    os.kill(os.getpid(), number)  # here it dies

async def app(scope, receive, send):
    name = scope["path"].strip("/")
    if name.startswith("SIG"):
        fatal(getattr(signal, name))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site_app.py").write_text(SITE)
    return tmp_path


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_worker_that_dies_of_a_fault_leaves_its_stacks_in_the_log(site: Path, name: str) -> None:
    # With a template the file for the stacks travels by the channel, without it by fork.
    way = "off" if name == "SIGABRT" else "auto"
    options = ("--app-dir", str(site), "--lifespan", "off", "--preload", way)
    with server_of("site_app:app", *options) as server:
        (victim,) = server.workers()
        with server.connect() as raw:
            raw.send(f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            raw.end()
        said = server.log.wait_for(f"worker died of {name}, its stacks slot=0 pid={victim} ")
        server.log.expect(f"worker died of {name}, its stacks", f"worker died .* signal={name}$")
        assert said.level == "error"
        assert said.pid == server.pid
        assert "site_app.py" in said.trace
        assert "in fatal" in said.trace
        with server.connect() as raw:
            assert raw.get("/").body == b"hello"


def test_each_worker_has_a_file_of_its_own_for_its_stacks(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        os.write(seat.trace, f"stacks of slot {seat.slot}\n".encode())
        faulthandler.disable()  # pytest's
        return good(seat)

    master = start(entry, slots=2)
    master.wait_for("serving on")
    for slot in (1, 0):
        pid = master.pids_of(f"forked a worker slot={slot}")[0]
        os.kill(pid, signal.SIGABRT)
        line = master.wait_for(f"its stacks slot={slot} ")
        assert line.endswith(f" pid={pid} generation=1 [stacks of slot {slot}]")
    assert master.stop() == 0


def test_without_stacks_the_end_alone_is_told(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        faulthandler.disable()  # pytest's
        return good(seat)

    master = start(entry, slots=1)
    master.wait_for("serving on")
    os.kill(master.pids_of("forked a worker")[0], signal.SIGABRT)
    line = master.wait_for("warning worker died")
    assert line.endswith("signal=SIGABRT")
    assert master.stop() == 0
    assert not master.find("stacks")


def test_stacks_of_a_worker_that_only_goes_are_not_shown(start: Start) -> None:
    def entry(seat: ipc.Seat) -> int:
        os.write(seat.trace, b"stacks")
        return good(seat)

    master = start(entry, slots=1)
    master.wait_for("serving on")
    os.kill(master.pids_of("forked a worker")[0], signal.SIGKILL)
    master.wait_for("forked a worker", times=2)
    assert master.stop() == 0
    assert not master.find("stacks")


@pytest.mark.parametrize("counted", [True, False])
def test_who_is_killed_may_have_been_out_of_memory(
    start: Start, tmp_path: Path, counted: bool
) -> None:
    group = tmp_path / "app"
    group.mkdir()
    events = group / "memory.events"
    events.write_text("oom_kill 7\n")
    (tmp_path / "cgroup").write_text("0::/app\n")

    def before() -> None:
        children.OomKills = lambda: OomKills(tmp_path / "cgroup", tmp_path)  # type: ignore[assignment,attr-defined,misc]

    master = start(good, slots=1, before=before)
    master.wait_for("serving on")
    if counted:
        events.write_text("oom_kill 8\n")
    os.kill(master.pids_of("forked a worker")[0], signal.SIGKILL)
    hint = "out of memory (oom_kill)" if counted else "out of memory?"
    assert master.wait_for("warning worker died").endswith(f"signal=SIGKILL hint={hint}")
    master.wait_for("forked a worker", times=2)
    os.kill(master.pids_of("forked a worker")[1], signal.SIGKILL)
    line = master.wait_for("warning worker died", times=2)
    assert line.endswith("hint=out of memory?"), "that kill was another's"
    assert master.stop() == 0


def test_whom_the_master_kills_is_not_said_to_be_out_of_memory(start: Start) -> None:
    def deaf(seat: ipc.Seat) -> int:
        talk = started(seat)
        while talk.hear():
            pass
        return 0

    master = start(deaf, slots=1, shutdown_timeout=0.1)
    master.wait_for("serving on")
    assert master.stop() == 0
    assert master.find("info worker is gone")[0].endswith("signal=SIGKILL")


def test_no_room_on_the_scoreboard_is_no_room_for_a_worker(start: Start) -> None:
    with reporting() as reports:
        master = start(good, preload=preload(reports), slots=2, records=2)
        master.wait_for("serving on")
        master.tell(signal.SIGHUP)
        master.wait_for("error worker cannot be forked: 2 workers are there, many still draining")
        master.wait_for("reload failed, the old code serves on")
        assert master.stop() == 0
