"""How much memory a worker under test takes, as the kernel counts it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.server import Server


class Memory:
    """The memory of the only worker: the most it ever has from here on, beside what it has now."""

    def __init__(self, server: Server) -> None:
        (pid,) = server.workers()
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins anew (proc(5))
        self._before = self._read("VmRSS")

    def growth(self) -> int:
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB$", self._status.read_text(), re.MULTILINE)
        assert found
        return int(found[1]) * 1024
