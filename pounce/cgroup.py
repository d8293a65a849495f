"""Where the kernel tells of the control group that this process is in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CGROUP: Final = Path("/proc/self/cgroup")
ROOT: Final = Path("/sys/fs/cgroup")


def lines_of(path: Path) -> list[str]:
    """The lines of one of its files; none where there is no such file."""
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
