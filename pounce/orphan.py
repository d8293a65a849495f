"""The end of a worker that has lost its master, also when it cannot hear. Knows one descriptor.

An orphan that keeps its listener takes connections away from the next master. A worker sees the
end of file on its control channel by itself and drains for a second; this is for the one whose
event loop is blocked. A signal at the parent's death (PDEATHSIG) would leave no time to drain,
and setuid cancels it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import Final

from pounce.errors import EXIT_CRASH

GRACE_S: Final = 1.5


def die_with_master(control: int, *, grace_s: float = GRACE_S) -> None:
    """End this process `grace_s` after the other end of the socket `control` is closed."""
    own = os.dup(control)  # the worker may close its own, and the number may come again

    def wait() -> None:
        poll = select.poll()
        poll.register(own, 0)  # POLLHUP is always told; what there is to read is not for us
        poll.poll()
        time.sleep(grace_s)
        os._exit(EXIT_CRASH)

    threading.Thread(target=wait, name="pounce-orphan", daemon=True).start()
