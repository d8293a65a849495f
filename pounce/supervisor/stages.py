"""The life of one worker as a table: where it is, what happened, where it is then."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Stage(Enum):
    """Where a worker is."""

    BOOTING = "booting"  # forked; imports and starts the application
    READY = "ready"  # started, accepts nothing
    OPENING = "opening"  # told to accept
    SERVING = "serving"
    PAUSED = "paused"  # accepts nothing while its successor is on probation
    HUNG = "hung"  # silent for too long; asked what it does
    LEAVING = "leaving"  # goes by itself: it failed, somebody else told it to, or it hung up
    DRAINING = "draining"  # told to go
    ABORTED = "aborted"  # sent SIGABRT, which writes down its stacks
    DOOMED = "doomed"  # sent SIGKILL


class Cue(Enum):
    """What happened to a worker."""

    READY = "ready"
    GO = "go"
    ACCEPTING = "accepting"
    PAUSE = "pause"
    SILENT = "silent"
    REVIVED = "revived"
    LEAVE = "leave"
    RETIRE = "retire"
    OVERDUE = "overdue"


NEXT_STAGE: Final[Mapping[tuple[Stage, Cue], Stage]] = {
    (Stage.BOOTING, Cue.READY): Stage.READY,
    (Stage.BOOTING, Cue.LEAVE): Stage.LEAVING,
    (Stage.BOOTING, Cue.RETIRE): Stage.DRAINING,
    (Stage.BOOTING, Cue.OVERDUE): Stage.DOOMED,
    (Stage.READY, Cue.GO): Stage.OPENING,
    (Stage.READY, Cue.LEAVE): Stage.LEAVING,
    (Stage.READY, Cue.RETIRE): Stage.DRAINING,
    (Stage.READY, Cue.OVERDUE): Stage.DOOMED,
    (Stage.OPENING, Cue.ACCEPTING): Stage.SERVING,
    (Stage.OPENING, Cue.LEAVE): Stage.LEAVING,
    (Stage.OPENING, Cue.RETIRE): Stage.DRAINING,
    (Stage.OPENING, Cue.OVERDUE): Stage.DOOMED,
    (Stage.SERVING, Cue.PAUSE): Stage.PAUSED,
    (Stage.SERVING, Cue.SILENT): Stage.HUNG,
    (Stage.SERVING, Cue.LEAVE): Stage.LEAVING,
    (Stage.SERVING, Cue.RETIRE): Stage.DRAINING,
    (Stage.SERVING, Cue.OVERDUE): Stage.DOOMED,
    (Stage.PAUSED, Cue.GO): Stage.OPENING,
    (Stage.PAUSED, Cue.LEAVE): Stage.LEAVING,
    (Stage.PAUSED, Cue.RETIRE): Stage.DRAINING,
    (Stage.PAUSED, Cue.OVERDUE): Stage.DOOMED,
    (Stage.HUNG, Cue.REVIVED): Stage.SERVING,
    (Stage.HUNG, Cue.LEAVE): Stage.LEAVING,
    (Stage.HUNG, Cue.RETIRE): Stage.DRAINING,
    (Stage.HUNG, Cue.OVERDUE): Stage.ABORTED,
    (Stage.LEAVING, Cue.LEAVE): Stage.LEAVING,  # said Draining, then hung up
    (Stage.LEAVING, Cue.RETIRE): Stage.DRAINING,
    (Stage.LEAVING, Cue.OVERDUE): Stage.DOOMED,
    (Stage.DRAINING, Cue.READY): Stage.DRAINING,  # Ready and Drain crossed in the pipes
    (Stage.DRAINING, Cue.ACCEPTING): Stage.DRAINING,  # so did Accepting and Drain
    (Stage.DRAINING, Cue.LEAVE): Stage.DRAINING,
    (Stage.DRAINING, Cue.RETIRE): Stage.DRAINING,
    (Stage.DRAINING, Cue.OVERDUE): Stage.DOOMED,
    (Stage.ABORTED, Cue.LEAVE): Stage.ABORTED,
    (Stage.ABORTED, Cue.OVERDUE): Stage.DOOMED,
    **{(Stage.DOOMED, cue): Stage.DOOMED for cue in Cue},  # SIGKILL is not asked twice
}  # no (SERVING, READY): said twice, the worker is broken; a missing pair means DOOMED

# The stages of a worker that is counted on: its slot needs nobody else.
STAYING: Final = frozenset(
    {Stage.BOOTING, Stage.READY, Stage.OPENING, Stage.SERVING, Stage.PAUSED, Stage.HUNG}
)
