"""How many processor cores this process may use: what affinity and cgroup leave of the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

from pounce.cgroup import CGROUP, ROOT, lines_of


def usable_cores() -> int:
    """1 or more. A quota of one and a half cores counts as two: both halves can be kept busy."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(quota(), cores)))


def quota(cgroup: Path = CGROUP, root: Path = ROOT) -> float:
    """The cores that cgroups grant, inf for all: the least of our own group and those above it.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max); cgroup-v1 (cpu.cfs_quota_us).
    """
    least = math.inf
    for line in lines_of(cgroup):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, read = root, _from_v2
        elif "cpu" in controllers.split(","):
            top, read = root / "cpu", _from_v1
        else:
            continue
        group = top / path.lstrip("/")
        while group.is_relative_to(top):
            least = min(least, read(group))
            group = group.parent
    return least


def _from_v2(group: Path) -> float:
    for line in lines_of(group / "cpu.max"):
        granted, _, period = line.partition(" ")
        if granted.isdigit() and period.isdigit() and int(period):
            return int(granted) / int(period)
    return math.inf


def _from_v1(group: Path) -> float:
    granted = "".join(lines_of(group / "cpu.cfs_quota_us"))
    period = "".join(lines_of(group / "cpu.cfs_period_us"))
    if granted.isdigit() and period.isdigit() and int(period):
        return int(granted) / int(period)
    return math.inf
