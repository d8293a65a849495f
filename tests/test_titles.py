"""What ps shows of a process, read where ps reads it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pounce.titles import set_title
from tests.support.server import started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def titled(*, library: bool, part: str, **facts: Any) -> tuple[str, str]:
    """The short name and the command line of a process of that title."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if not library:
                sys.modules["setproctitle"] = None  # type: ignore[assignment]  # import fails so
            set_title(part, **facts)
            os.write(write_end, Path("/proc/self/comm").read_bytes())
            os.write(write_end, Path("/proc/self/cmdline").read_bytes())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    with os.fdopen(read_end) as said:
        comm, line = said.read().split("\n", 1)
    return comm, line.rstrip("\0")


@pytest.mark.parametrize("part", ["master", "template", "worker"])
@pytest.mark.parametrize("library", [True, False], ids=["setproctitle", "without it"])
def test_the_short_name_says_the_part(part: str, library: bool) -> None:
    if library:
        pytest.importorskip("setproctitle")
    assert titled(library=library, part=part, slot=0)[0] == f"pounce-{part}"


def test_the_line_says_the_facts_in_their_order() -> None:
    pytest.importorskip("setproctitle")
    _, line = titled(library=True, part="worker", slot=3, generation=2)
    assert line == "pounce: worker slot=3 generation=2"


def test_without_the_library_the_line_stays_as_it_was() -> None:
    _, line = titled(library=False, part="worker", slot=3)
    own = Path("/proc/self/cmdline").read_text().rstrip("\0")
    assert line == own


def test_a_long_name_is_cut_to_what_the_kernel_keeps() -> None:
    assert titled(library=False, part="of-a-great-length")[0] == "pounce-of-a-great-length"[:15]


@pytest.mark.parametrize("preload", ["auto", "off"])
def test_the_processes_of_a_server_can_be_told_apart(preload: str) -> None:
    with started("probe", "--workers", "2", "--preload", preload) as server:
        lines = {name_of(pid): line_of(pid) for pid in children_of(server.pid)}
        workers = {line_of(pid) for pid in server.workers()}
        assert name_of(server.pid) == "pounce-master"
        assert set(lines) == {"pounce-worker"} | (
            {"pounce-template"} if preload != "off" else set()
        )
        pytest.importorskip("setproctitle")
        assert line_of(server.pid) == "pounce: master app=tests.system.apps.probe:app"
        assert workers == {f"pounce: worker slot={slot} generation=1" for slot in range(2)}
        assert lines.get("pounce-template") in (None, "pounce: template generation=1")


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def line_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().strip("\0")


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
