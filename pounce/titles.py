"""What ps, top and pgrep show of a process: its part, its slot and its generation.

The short name (comm, up to 15 bytes) is set by a call of the kernel's; the whole line needs the
library setproctitle and stays as it was without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import Final

PR_SET_NAME: Final = 15


def set_title(part: str, **facts: object) -> None:
    """Names this process.

    Args:
        part: "master", "template" or "worker"; the short name becomes ``pounce-`` and this.
        facts: what else the whole line says, as ``key=value``.
    """
    with contextlib.suppress(ImportError):
        from setproctitle import setproctitle

        setproctitle(" ".join([f"pounce: {part}", *(f"{key}={facts[key]}" for key in facts)]))
    if sys.platform == "linux":
        # After the line, which sets both. Not by /proc/self/comm: once the rights of root are
        # given away, that file is still root's.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_NAME, f"pounce-{part}"[:15].encode(), 0, 0, 0)
