"""How many workers there are, and whether each has a queue of its own, seen from outside."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from pounce.cores import usable_cores
from tests.support.notes import Notes
from tests.support.raw import request
from tests.support.server import Server, started
from tests.support.serverlog import wait_until

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def listeners(server: Server) -> int:
    """The sockets that listen on the server's port, as the kernel lists them (proc_net_tcp(5))."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[1].endswith(f":{server.port:04X}") and line[3] == "0A" for line in lines)


def answering(server: Server, count: int) -> Counter[int]:
    """The workers that answer so many new connections."""
    pids: Counter[int] = Counter()
    for _ in range(count):
        with server.connect() as raw:
            pids[int(raw.get("/whoami").body)] += 1
    return pids


@linux_only
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_in_shared_mode_all_workers_accept_from_one_listener(loop: str) -> None:
    options = ("--listen-mode", "shared", "--workers", "3", "--loop", loop)
    with started("probe", *options) as server:
        assert listeners(server) == 1
        assert answering(server, 20).keys() <= server.workers()
        (victim, *_) = server.workers()
        os.kill(victim, 9)
        server.log.expect("worker died .*signal=SIGKILL")
        wait_until(lambda: len(server.workers() - {victim}) == 3, "a successor")
        assert listeners(server) == 1
        assert answering(server, 20)


@linux_only
def test_in_shared_mode_a_worker_that_blocks_leaves_connections_to_the_others(
    notes: Notes,
) -> None:
    options = ("--listen-mode", "shared", "--workers", "2", "--shutdown-timeout", "0")
    with started("probe", *options) as server, server.connect() as blocked:
        blocked.send(request("GET", f"/block?{notes.query}"))
        notes.wait_for("begun")
        other = answering(server, 30)
        assert len(other) == 1, "and nobody waits for the one that blocks"
        server.log.allow("does not go, killing it")


@linux_only
def test_in_slots_mode_each_worker_has_a_listener_of_its_own() -> None:
    with started("probe", "--workers", "3") as server:
        assert listeners(server) == 3
        assert answering(server, 60).keys() == server.workers(), "the kernel spreads them"


def test_auto_is_a_worker_for_each_core_that_may_be_used() -> None:
    with started("probe", "--workers", "auto") as server:
        assert len(server.workers()) == usable_cores()
        assert server.log.find(f"workers={usable_cores()} loop=")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity")
def test_auto_counts_what_affinity_leaves() -> None:
    core = min(os.sched_getaffinity(0))
    prefix = (
        sys.executable,
        "-c",
        "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); "
        "os.execv(sys.argv[2], sys.argv[2:])",
        str(core),
    )
    with started("probe", "--workers", "auto", prefix=prefix) as server:
        assert len(server.workers()) == 1
