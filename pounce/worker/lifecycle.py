"""From fork to exit: what a worker does when, as a table. Events in, actions out; no clock, no I/O.

Source: the plan of a drain is in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

# The master kills a second after the drain's time: both graces together must be less.
CUT_GRACE: Final = 0.25  # seconds for cancelled applications to return


class Stage(Enum):
    """Where the worker is."""

    STARTING = "importing and starting the application"
    READY = "waiting for the master's go"
    SERVING = "accepting connections"
    PAUSED = "accepting nothing for now"
    DRAINING = "finishing what is open"
    CUTTING = "waiting for cancelled applications"
    STOPPING = "running lifespan shutdown"
    ENDED = "about to exit"


class Cue(Enum):
    """What happened."""

    STARTED = "lifespan startup is complete"
    GO = "the master says go"
    PAUSE = "the master says wait"
    DRAIN = "no more connections: the master says so, or is gone, or SIGTERM"
    EMPTY = "nothing is open any more"
    OVERDUE = "the time of this stage is over"
    STOPPED = "lifespan shutdown has run"


class Do(Enum):
    """What the worker must do."""

    SAY_READY = "say Ready"
    ACCEPT = "accept connections and say Accepting"
    PAUSE = "stop accepting for now"
    CLOSE_DOOR = "stop accepting, tell every connection, say Draining"
    CUT = "abort connections, cancel their applications"
    SHUT_DOWN = "run lifespan shutdown"
    EXIT = "say Drained and exit"


NEXT: Final[Mapping[tuple[Stage, Cue], tuple[Stage, tuple[Do, ...]]]] = {
    (Stage.STARTING, Cue.STARTED): (Stage.READY, (Do.SAY_READY,)),
    # A start-up cannot be interrupted; what it began is shut down once it is there.
    (Stage.STARTING, Cue.DRAIN): (Stage.STARTING, ()),
    (Stage.READY, Cue.GO): (Stage.SERVING, (Do.ACCEPT,)),
    (Stage.READY, Cue.DRAIN): (Stage.STOPPING, (Do.SHUT_DOWN,)),
    (Stage.SERVING, Cue.PAUSE): (Stage.PAUSED, (Do.PAUSE,)),
    (Stage.SERVING, Cue.DRAIN): (Stage.DRAINING, (Do.CLOSE_DOOR,)),
    (Stage.PAUSED, Cue.GO): (Stage.SERVING, (Do.ACCEPT,)),
    (Stage.PAUSED, Cue.DRAIN): (Stage.DRAINING, (Do.CLOSE_DOOR,)),
    (Stage.DRAINING, Cue.DRAIN): (Stage.DRAINING, ()),  # a second one may shorten the time
    (Stage.DRAINING, Cue.EMPTY): (Stage.STOPPING, (Do.SHUT_DOWN,)),
    (Stage.DRAINING, Cue.OVERDUE): (Stage.CUTTING, (Do.CUT,)),
    (Stage.CUTTING, Cue.DRAIN): (Stage.CUTTING, ()),
    (Stage.CUTTING, Cue.EMPTY): (Stage.STOPPING, (Do.SHUT_DOWN,)),
    (Stage.CUTTING, Cue.OVERDUE): (Stage.STOPPING, (Do.SHUT_DOWN,)),
    (Stage.STOPPING, Cue.DRAIN): (Stage.STOPPING, ()),
    (Stage.STOPPING, Cue.EMPTY): (Stage.STOPPING, ()),
    (Stage.STOPPING, Cue.OVERDUE): (Stage.ENDED, (Do.EXIT,)),
    (Stage.STOPPING, Cue.STOPPED): (Stage.ENDED, (Do.EXIT,)),
    (Stage.ENDED, Cue.DRAIN): (Stage.ENDED, ()),
    (Stage.ENDED, Cue.EMPTY): (Stage.ENDED, ()),
    (Stage.ENDED, Cue.STOPPED): (Stage.ENDED, ()),
    # On its way when the worker began to go by itself.
    **{
        (stage, cue): (stage, ())
        for stage in (Stage.DRAINING, Stage.CUTTING, Stage.STOPPING, Stage.ENDED)
        for cue in (Cue.GO, Cue.PAUSE)
    },
}  # a missing pair changes nothing and is a bug of the caller: LifecycleError


class LifecycleError(Exception):
    """A cue that cannot come at this stage."""


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """Why the worker drains, and until when.

    Attributes:
        reason: "exit", "interrupt", "reload", "scale", "recycle" or "master gone".
        deadline: on the caller's monotonic clock; what is open then is cut.
    """

    reason: str
    deadline: float


class Lifecycle:
    """One worker's stage, and the deadline of that stage.

    Args:
        shutdown_grace: seconds that lifespan shutdown may take when the drain's time is used up;
            before that it has what is left of it as well.

    Attributes:
        order: the drain that is under way, or None.
    """

    def __init__(self, *, shutdown_grace: float) -> None:
        self.stage = Stage.STARTING
        self.order: DrainOrder | None = None
        self._shutdown_grace = shutdown_grace
        self._deadline: float | None = None

    def handle(self, cue: Cue, now: float) -> tuple[Do, ...]:
        """What is to be done about `cue`, in this order.

        Raises:
            LifecycleError: the table has no such pair.
        """
        try:
            stage, actions = NEXT[self.stage, cue]
        except KeyError:
            raise LifecycleError(f"{cue.name} at {self.stage.name}") from None
        entered = stage is not self.stage
        self.stage = stage
        if stage is Stage.DRAINING and self.order is not None:
            self._deadline = self.order.deadline
        elif entered and stage is Stage.CUTTING:
            self._deadline = now + CUT_GRACE
        elif stage is Stage.STOPPING:
            end = now if self.order is None else max(now, self.order.deadline)
            self._deadline = end + self._shutdown_grace
        elif entered:
            self._deadline = None
        if self.order is not None and (entered and stage is Stage.READY):
            return (*actions, *self.handle(Cue.DRAIN, now))
        return actions

    def drain(self, reason: str, within_s: float, now: float) -> tuple[Do, ...]:
        """Be gone in `within_s` seconds. A second order may only shorten what is left."""
        deadline = now + within_s
        if self.order is None:
            self.order = DrainOrder(reason, deadline)
        elif deadline < self.order.deadline:
            self.order = DrainOrder(self.order.reason, deadline)
        return self.handle(Cue.DRAIN, now)

    def next_deadline(self) -> float | None:
        """When OVERDUE must be said, unless the stage changes before."""
        return self._deadline
