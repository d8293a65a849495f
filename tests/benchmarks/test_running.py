"""A real server process: pinned, asked, watched and ended; no load and no duration."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks import procfs
from benchmarks.apps import plain
from benchmarks.loads import Exchange, Idle, Plan, Resident, prove
from benchmarks.running import BenchmarkError, free_port, running
from benchmarks.servers import Order, floor

CORE = max(os.sched_getaffinity(0))
GREETING = Exchange("/13", plain.GREETING)
PLAN = Plan(seconds=1, warmup_s=1, idle_connections=20, load_core=CORE)


def floor_on(port: int, tmp_path: Path) -> list[str]:
    return floor(Order("", port, tmp_path / "access.log", answer="greeting"))


def test_a_server_is_pinned_proven_and_gone_at_the_end(tmp_path: Path) -> None:
    port = free_port()
    command = floor_on(port, tmp_path)
    with running(command, port=port, core=CORE, log=tmp_path / "log") as started:
        prove(started, GREETING)
        started.settle()
        assert os.sched_getaffinity(started.process.pid) == {CORE}
        assert started.cpu_ns()[started.process.pid] > 0
        pids = started.pids
    assert [pid for pid in pids if procfs.exists(pid)] == []


def test_a_wrong_answer_is_not_measured(tmp_path: Path) -> None:
    port = free_port()
    command = floor_on(port, tmp_path)
    with (
        pytest.raises(BenchmarkError, match="GET /13 was answered with 200 and 13 bytes"),
        running(command, port=port, core=CORE, log=tmp_path / "log") as started,
    ):
        prove(started, Exchange("/13", b"Hello, Earth!"))


def test_memory_is_read_off_the_process_that_answers(tmp_path: Path) -> None:
    port = free_port()
    command = floor_on(port, tmp_path)
    with running(command, port=port, core=CORE, log=tmp_path / "log") as started:
        resident = Resident(GREETING).measure(started, PLAN)
        idle = Idle(GREETING).measure(started, PLAN)
    assert 0 < resident["worker_pss_mib"] <= resident["tree_pss_mib"]
    assert set(idle) == {"idle_pss_kib", "idle_rss_kib"}


def test_a_server_that_ends_before_it_accepts_is_reported_with_its_last_words(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such app')"]
    with (
        pytest.raises(BenchmarkError, match=r"(?s)ended with status 1 .*no such app"),
        running(command, port=free_port(), core=CORE, log=tmp_path / "log"),
    ):
        pass
