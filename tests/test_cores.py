"""How many cores may be used: cgroup quotas from files like the kernel's, affinity for real."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pounce import cores
from pounce.cores import quota, usable_cores

Files = dict[str, str]


def quota_of(folder: Path, table: str, files: Files) -> float:
    """By a table of cgroups and files below their root."""
    (folder / "cgroup").write_text(table)
    for name, text in files.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return quota(folder / "cgroup", folder / "root")


@pytest.mark.parametrize(
    ("table", "files", "granted"),
    [
        # Version 2: one line, "0::".
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/app\n", {"app/cpu.max": "max 100000\n"}, math.inf),
        ("0::/app\n", {"app/cpu.max": "50000 100000\n"}, 0.5),
        # A group has no more than those above it, all the way up.
        ("0::/a/b/c\n", {"a/b/c/cpu.max": "400000 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000", "a/cpu.max": "200000 100000"}, 1.0),
        ("0::/a/b\n", {"cpu.max": "300000 100000"}, 3.0),
        # Not its own.
        ("0::/a\n", {"b/cpu.max": "100000 100000"}, math.inf),
        # Another container's view of paths: nothing is there.
        ("0::/../../app\n", {"app/cpu.max": "100000 100000"}, math.inf),
        # Version 1, also where it is mounted together with cpuacct, and where both are in use.
        (
            "4:cpu,cpuacct:/app\n1:name=systemd:/\n",
            {"cpu/app/cpu.cfs_quota_us": "250000\n", "cpu/app/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        (
            "4:cpu:/app\n",
            {"cpu/app/cpu.cfs_quota_us": "-1\n", "cpu/app/cpu.cfs_period_us": "100000\n"},
            math.inf,
        ),
        (
            "4:cpu:/a/b\n0::/\n",
            {"cpu/a/cpu.cfs_quota_us": "100000", "cpu/a/cpu.cfs_period_us": "50000"},
            2.0,
        ),
        ("5:cpuset:/app\n4:cpuacct:/app\n", {"cpu/app/cpu.cfs_quota_us": "1"}, math.inf),
        # Nonsense is no limit.
        ("0::/\n", {"cpu.max": "100000 0\n"}, math.inf),
        ("0::/\n", {"cpu.max": "much\n"}, math.inf),
        ("0::/\n", {"cpu.max": ""}, math.inf),
        ("", {"cpu.max": "100000 100000\n"}, math.inf),
    ],
)
def test_the_quota_is_the_least_of_the_groups_from_ours_upwards(
    tmp_path: Path, table: str, files: Files, granted: float
) -> None:
    assert quota_of(tmp_path, table, files) == granted


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path / "nowhere", tmp_path) == math.inf


@pytest.mark.parametrize(
    ("granted", "counted"),
    [(math.inf, 4), (8.0, 4), (2.0, 2), (1.5, 2), (0.5, 1), (0.01, 1), (0.0, 1)],
)
def test_a_part_of_a_core_counts_as_one(
    monkeypatch: pytest.MonkeyPatch, granted: float, counted: int
) -> None:
    monkeypatch.setattr(cores, "quota", lambda: granted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert usable_cores() == counted


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity")
def test_only_the_cores_that_affinity_leaves_count() -> None:
    def with_one() -> int:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return usable_cores()

    assert in_a_child(with_one) == 1


def test_there_are_some_here() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def in_a_child(what: Callable[[], int]) -> int:
    """What it returns there."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = what()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
