"""What an import leaves behind, and who imports then: real processes under a real master."""

from __future__ import annotations

import _thread
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pounce import ipc
from tests.support.master import PATIENCE, Start, good
from tests.support.nursery import Reports, preload, reporting

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="templates are Linux")

kept: list[socket.socket] = []


@pytest.fixture
def reports() -> Iterator[Reports]:
    with reporting() as one:
        yield one


def forever() -> None:
    time.sleep(10 * PATIENCE)


def a_thread() -> None:
    threading.Thread(target=forever, name="flusher", daemon=True).start()


def two_threads() -> None:
    a_thread()
    a_thread()


def a_thread_that_python_does_not_list() -> None:
    _thread.start_new_thread(forever, ())


def a_socket() -> None:
    kept.append(socket.socket())


def both() -> None:
    a_thread()
    a_socket()


def what_ends_in_time() -> None:
    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()
    socket.socket().close()


LEFT_BEHIND = [
    (a_thread, r"1 threads? \(flusher\)"),
    (two_threads, r"2 threads \(flusher, flusher\)"),
    (a_thread_that_python_does_not_list, r"1 threads? \(not of Python\)"),
    (a_socket, r"1 sockets?"),
    (both, r"1 threads? \(flusher\) and 1 sockets?"),
]


@pytest.mark.parametrize(("load", "named"), LEFT_BEHIND)
def test_what_the_import_left_behind_is_named_and_each_worker_imports_for_itself(
    start: Start, reports: Reports, load: Callable[[], None], named: str
) -> None:
    def entry(seat: ipc.Seat) -> int:
        reports.say("importer")
        return good(seat)

    master = start(entry, preload=preload(reports, load=load), slots=2)
    master.wait_for("serving on")
    (line,) = master.find("warning ")
    assert re.fullmatch(rf"warning import started {named}, so each worker imports for itself", line)
    assert {reports.hear("importer")["ppid"] for _ in range(2)} == {master.pid}
    template = reports.hear("template")["pid"]
    master.wait_for(f"reaped a process that is none of ours pid={template}")
    assert master.stop() == 0
    assert not reports.rest(), "no worker of the template"


@pytest.mark.parametrize(("load", "named"), LEFT_BEHIND[:1] + LEFT_BEHIND[3:4])
def test_with_preload_on_it_is_named_and_the_template_forks_all_the_same(
    start: Start, reports: Reports, load: Callable[[], None], named: str
) -> None:
    master = start(good, preload=preload(reports, load=load, always=True), slots=2)
    master.wait_for("serving on")
    (line,) = master.find("warning ")
    assert re.fullmatch(rf"warning import started {named}, which no fork survives well", line)
    template = reports.hear("template")["pid"]
    for _ in range(2):
        assert reports.hear("worker")["loaded"] == {"loaded by": template}
    assert master.stop() == 0


def test_what_has_ended_when_the_import_is_over_is_not_named(
    start: Start, reports: Reports
) -> None:
    master = start(good, preload=preload(reports, load=what_ends_in_time))
    master.wait_for("serving on")
    assert master.stop() == 0
    assert not master.find("warning")
    assert reports.hear("worker")


def test_a_worker_that_imports_for_itself_is_followed_by_one_that_does(
    start: Start, reports: Reports
) -> None:
    def entry(seat: ipc.Seat) -> int:
        reports.say("importer")
        return good(seat)

    master = start(entry, preload=preload(reports, load=a_socket), slots=1)
    master.wait_for("serving on")
    os.kill(reports.hear("importer")["pid"], signal.SIGKILL)
    assert reports.hear("importer")["ppid"] == master.pid
    master.tell(signal.SIGHUP)
    master.wait_for("warning import started", times=2)  # each generation is asked anew
    reports.hear("importer")
    assert master.stop() == 0
    assert not master.find("template died")
