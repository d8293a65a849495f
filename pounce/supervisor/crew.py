"""What the supervisor knows of each worker and slot, and how patient it is. Decides nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from pounce import ipc
from pounce.supervisor.stages import Stage

# After the time a worker was given it gets this much more, to say so itself; then SIGKILL.
GRACE_S: Final = 1.0
# What a second SIGTERM or SIGINT leaves of the shutdown timeout.
HURRY_S: Final = 1.0
# A worker that has not said Ready serves nobody, and while it imports it cannot hear us.
BOOTING_DRAIN_S: Final = 5.0
# A storm of SIGHUPs becomes one reload at once and one, of the newest code, this much later.
RELOAD_SPACING_S: Final = 1.0
# The first worker that dies in a slot is replaced at once, the next ones after 0.1, 0.2, ... 10 s;
# one that served this long before ends the series. Only the slot waits, never the server.
BACK_OFF_S: Final = 0.1
BACK_OFF_LIMIT_S: Final = 10.0
GOOD_LIFE_S: Final = 10.0


@dataclass(slots=True)
class Worker:
    """One worker process, from the order to fork it until it has been reaped."""

    id: int
    slot: int
    generation: int
    since: float  # when it came to its stage
    due: float  # when it is overdue
    stage: Stage = Stage.BOOTING
    serving_since: float = math.inf
    failed: bool = False  # said so, before it goes
    accepts: bool = False  # from Go until it says Draining
    heard_at: float = -math.inf
    heartbeat: ipc.Heartbeat | None = None

    def due_from(self, now: float, *, start: float, drain: float) -> float:
        """When it is overdue at the stage it has come to `now`, by the two timeouts."""
        match self.stage:
            case Stage.OPENING:
                return now + start
            case Stage.LEAVING:
                return now + drain + GRACE_S
            case Stage.DRAINING:
                return self.due  # who retires it knows
        return math.inf


@dataclass(slots=True)
class Slot:
    """How the slot's last workers fared; forgotten when a new generation serves."""

    failures: int = 0
    not_before: float = -math.inf


@dataclass(slots=True)
class Ending:
    """The server is to stop, and with which exit status."""

    status: int
    within_s: float
    signals: int = 0
