"""Whether the kernel has killed one of us for want of memory: what our cgroup counts."""

from __future__ import annotations

from pathlib import Path

from pounce.cgroup import CGROUP, ROOT, lines_of


class OomKills:
    """Notices that the count of the cgroup has grown.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (memory.events, oom_kill).
    """

    def __init__(self, cgroup: Path = CGROUP, root: Path = ROOT) -> None:
        self._path: Path | None = None
        for line in lines_of(cgroup):
            if line.startswith("0::"):
                self._path = root / line[3:].lstrip("/") / "memory.events"
        self._seen = self._count()

    def grew(self) -> bool:
        """Has there been one since the last call?"""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        for line in lines_of(self._path) if self._path else []:
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdigit():
                return int(value)
        return 0
