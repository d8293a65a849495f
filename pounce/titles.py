"""What ps, top and pgrep show of a process: its part, its slot and its generation.

The short name (comm, up to 15 bytes) is set by the kernel's own file; the whole line needs the
library setproctitle and stays as it was without it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

COMM = Path("/proc/self/comm")


def set_title(part: str, **facts: object) -> None:
    """Names this process.

    Args:
        part: "master", "template" or "worker"; the short name becomes ``pounce-`` and this.
        facts: what else the whole line says, as ``key=value``.
    """
    with contextlib.suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(" ".join([f"pounce: {part}", *(f"{key}={facts[key]}" for key in facts)]))
    with contextlib.suppress(OSError):  # not Linux, or no /proc; after the line, which sets both
        COMM.write_text(f"pounce-{part}"[:15])
