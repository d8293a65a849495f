"""What the supervisor is told (events) and what it asks for (actions). Only data.

A worker is named by the number that its Spawn gave it, never by its pid: a pid exists only later
and comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pounce import ipc

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
    """A worker has been reaped: by exit with `status`, or by `signal` (then status is None)."""

    worker: int
    status: int | None
    signal: str = ""


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
    """New code is wanted (SIGHUP, a changed file)."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Nobody is wanted any more (SIGTERM, SIGINT); more urgent each time."""


@dataclass(frozen=True, slots=True)
class Tick:
    """next_deadline() has come."""


Event = (
    Said | HungUp | Exited | NotForked | Loaded | LoadFailed | TemplateGone | Reload | Stop | Tick
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
class Serving:
    """All slots accept with the code of `generation`."""

    generation: int
    after_s: float


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


@dataclass(frozen=True, slots=True)
class Finish:
    """Every worker is gone; the master ends with `status`."""

    status: int


Action = Load | Unload | Spawn | Tell | Kill | Serving | StopListening | Note | Finish
