"""What the supervisor is told (events) and what it asks for (actions). Only data.

A worker is named by the number that its Spawn gave it, never by its pid: a pid exists only later
and comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pounce import ipc
from pounce.supervisor.crew import Policy

Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Said:
    """A worker sent a message."""

    worker: int
    message: ipc.ToMaster


@dataclass(frozen=True, slots=True)
class HungUp:
    """A worker closed its end of the control channel; mostly it is about to be reaped."""

    worker: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker has been reaped: by exit with `status`, or by `signal` (then status is None).

    `hint` says what the system knows of the cause, such as "out of memory".
    """

    worker: int
    status: int | None
    signal: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class NotForked:
    """A Spawn could not be performed."""

    worker: int
    why: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The application of `generation` is imported; its workers can be forked."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """It cannot be imported, or its template died of it."""

    generation: int
    code: int
    why: str
    trace: str = ""


@dataclass(frozen=True, slots=True)
class TemplateGone:
    """The template of a generation that was loaded has died."""

    generation: int


@dataclass(frozen=True, slots=True)
class Reload:
    """New code is wanted (SIGHUP, a changed file), and other settings with it, if any.

    They count once the new generation serves: a reload that fails changes nothing.
    """

    policy: Policy | None = None
    slots: int = 0  # 0: as many as before


@dataclass(frozen=True, slots=True)
class Scale:
    """More or fewer slots are wanted: `to` so many, or else `by` so many."""

    to: int = 0
    by: int = 0


@dataclass(frozen=True, slots=True)
class Added:
    """AddSlot has been performed."""


@dataclass(frozen=True, slots=True)
class NotAdded:
    """AddSlot could not be performed."""

    why: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The answer to Probe: so many connections wait at the slot's listeners."""

    slot: int
    depth: int


@dataclass(frozen=True, slots=True)
class Slept:
    """This process itself stood still so long (SIGSTOP, a suspended machine): nobody else did."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Upgraded:
    """Another master serves on our listeners: this one retires."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Nobody is wanted any more (SIGTERM, SIGINT); more urgent each time.

    Attributes:
        interrupt: somebody at a terminal waits for it (SIGINT).
    """

    interrupt: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """next_deadline() has come."""


Event = (
    Said
    | HungUp
    | Exited
    | NotForked
    | Loaded
    | LoadFailed
    | TemplateGone
    | Reload
    | Scale
    | Added
    | NotAdded
    | Queued
    | Slept
    | Upgraded
    | Stop
    | Tick
)


@dataclass(frozen=True, slots=True)
class Load:
    """Import the application anew, for `generation`; answered by Loaded or LoadFailed."""

    generation: int


@dataclass(frozen=True, slots=True)
class Unload:
    """No worker of `generation` will be asked for any more."""

    generation: int


@dataclass(frozen=True, slots=True)
class Spawn:
    """Fork a worker; answered by its messages, or by NotForked."""

    worker: int
    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to a worker. Before Go its slot's listeners must listen."""

    worker: int
    message: ipc.ToWorker


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to a worker."""

    worker: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM to a worker that may be importing, and so does not hear what it is told."""

    worker: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Have a silent worker say what it does, if it still can."""

    worker: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Have a worker write down its stacks and die of it (SIGABRT)."""

    worker: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Look at the queue of a slot; answered by Queued."""

    slot: int


@dataclass(frozen=True, slots=True)
class AddSlot:
    """Bind the listeners of one more slot; answered by Added or NotAdded."""


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """Close the listeners of the last slot: nobody serves them, nothing waits there."""

    slot: int


@dataclass(frozen=True, slots=True)
class Steer:
    """Have the kernel give new connections to these slots by weight; none: to all, as it likes."""

    weights: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Have a worker serve the listeners of another slot beside its own."""

    worker: int
    slot: int


@dataclass(frozen=True, slots=True)
class Release:
    """End of an Adopt."""

    worker: int
    slot: int


@dataclass(frozen=True, slots=True)
class Serving:
    """All slots accept with the code of `generation`."""

    generation: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A reload is over: `generation` stays, or was given up because of `why`."""

    generation: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class StopListening:
    """Nobody will accept any more: whoever connects from now on is refused, not left waiting."""


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log; `worker`, if any, is shown by slot and pid, `trace` below."""

    level: Level
    text: str
    worker: int | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    trace: str = ""


def shown(name: str, value: object) -> str:
    """A fact of a note as the log shows it."""
    return f"{name}={value:.1f}" if isinstance(value, float) else f"{name}={value}"


@dataclass(frozen=True, slots=True)
class Finish:
    """Every worker is gone; the master ends with `status`."""

    status: int


Action = (
    Load
    | Unload
    | Spawn
    | Tell
    | Terminate
    | Ask
    | Abort
    | Kill
    | Probe
    | AddSlot
    | CloseSlot
    | Steer
    | Adopt
    | Release
    | Serving
    | Outcome
    | StopListening
    | Note
    | Finish
)
