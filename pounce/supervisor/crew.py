"""What the supervisor knows of each worker and slot, and how patient it is. Decides nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
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
# A slot that waits longer than this for its next worker is taken out of the kernel's choice.
GAP_S: Final = 0.5
# A heartbeat this late makes a worker suspect: is there a queue that it does not serve?
LATE_S: Final = 0.4
PROBE_S: Final = 0.25  # how often a suspect's queue is looked at
# A silent worker is asked what it does, then aborted for its stacks, then killed.
ASK_S: Final = 0.5
ABORT_S: Final = 1.5
# A listener that is to be closed is first taken out of the kernel's choice for this long:
# handshakes that have begun still end there.
SETTLE_S: Final = 1.0
# While a server stops: who is waited for is said this long after it began, and then each so often.
WAITING_S: Final = 1.0
WAITING_AGAIN_S: Final = 5.0
# Limits of workers that were born together are reached up to this part later, one after another.
SPREAD: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that the supervisor decides by; the settings of the same names say more.

    All times in seconds; 0 switches off what has a limit.

    Attributes:
        start_timeout: from fork to Ready, and again from Go to Accepting.
        shutdown_timeout: in which a stopping worker may finish what it has begun.
        drain_delay: between a stop and the end of accepting.
        probation: in which a new generation must not lose a worker, or the old one comes back.
        max_surge: worker processes beyond the slots, those that drain included; 0: any number.
        worker_timeout: without a heartbeat, before a worker is killed.
        max_requests, max_worker_age, max_worker_memory: when a worker is replaced; what
            WebSockets send counts as requests.
    """

    start_timeout: float = 60.0
    shutdown_timeout: float = 30.0
    drain_delay: float = 0.0
    probation: float = 0.0
    max_surge: int = 0
    worker_timeout: float = 0.0
    max_requests: int = 0
    max_worker_age: float = 0.0
    max_worker_memory: int = 0  # bytes


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
    accepts: bool = False  # from Go until it says Draining, or is paused
    lame: bool = False  # told that every answer is to be the last of its connection
    heard_at: float = math.inf  # the last sign of life
    suspect_at: float = math.inf  # when its queue is looked at if nothing is heard before
    stalled: bool = False  # silent, and connections wait
    heartbeat: ipc.Heartbeat | None = None
    rate: float = 0.0  # connections accepted per second, between the last two heartbeats
    at_drain: ipc.Draining | None = None  # what was open when it began to drain

    @property
    def holds(self) -> bool:
        """Has it still the listeners of its slot?"""
        return self.at_drain is None

    def due_from(self, now: float, policy: Policy) -> float:
        """When it is overdue at the stage it has come to `now`."""
        match self.stage:
            case Stage.OPENING:
                return now + policy.start_timeout
            case Stage.LEAVING:
                return now + policy.shutdown_timeout + GRACE_S
            case Stage.HUNG:
                return now + ASK_S
            case Stage.ABORTED:
                return now + ABORT_S
            case Stage.DRAINING:
                return self.due  # who retires it knows
        return math.inf

    def hear(self, now: float, next_s: float) -> None:
        """A sign of life; the next one is promised within `next_s` seconds."""
        self.heard_at = now
        self.suspect_at = now + next_s + LATE_S
        self.stalled = False

    def beat(self, heartbeat: ipc.Heartbeat, now: float) -> bool:
        """A heartbeat; is it a sign that connections are spread otherwise than before?"""
        before, self.heartbeat = self.heartbeat, heartbeat
        passed = now - self.heard_at
        if before is not None and 0 < passed < math.inf:
            self.rate = (heartbeat.accepted - before.accepted) / max(passed, ipc.BUSY_BEAT_S)
        self.hear(now, heartbeat.next_s)
        return before is None or before.connections != heartbeat.connections

    def silent_at(self, policy: Policy) -> float:
        """When it is to be replaced for its silence; inf for never."""
        if not policy.worker_timeout:
            return math.inf
        # An idle one need not speak more often than it has promised, however short the limit.
        promised = self.heartbeat.next_s + LATE_S if self.heartbeat else 0.0
        return self.heard_at + max(policy.worker_timeout, promised)

    def age_limit(self, policy: Policy) -> float:
        """When it is to be replaced for its age; inf for never."""
        if not policy.max_worker_age:
            return math.inf
        return self.serving_since + policy.max_worker_age * self._spread()

    def tired(self, policy: Policy, now: float) -> str:
        """Why it is to be replaced, such as "age"; "" while it is not."""
        if now >= self.age_limit(policy):
            return "age"
        if self.heartbeat is None:
            return ""
        done = self.heartbeat.requests + self.heartbeat.websockets.messages_received
        if 0 < policy.max_requests * self._spread() <= done:
            return "requests"
        # Not spread: memory is a hard limit, and no two workers reach it together.
        if 0 < policy.max_worker_memory <= self.heartbeat.memory:
            return "memory"
        return ""

    def _spread(self) -> float:
        """1.0 to 1.1, even over successive workers (multiples of the golden ratio)."""
        return 1.0 + SPREAD * (self.id * 0.6180339887 % 1.0)


@dataclass(frozen=True, slots=True)
class Totals:
    """What several workers have done together, as far as their last heartbeats say."""

    accepted: int = 0
    requests: int = 0
    websockets: ipc.WebSockets = field(default_factory=ipc.WebSockets)

    @classmethod
    def of(cls, heartbeat: ipc.Heartbeat) -> Totals:
        return cls(heartbeat.accepted, heartbeat.requests, heartbeat.websockets)

    def ended(self) -> Totals:
        """The same of a worker that is gone."""
        return replace(self, websockets=self.websockets.ended())

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.accepted + other.accepted,
            self.requests + other.requests,
            self.websockets + other.websockets,
        )


@dataclass(slots=True)
class Slot:
    """How the slot's last workers fared; forgotten when a new generation serves.

    Attributes:
        closes_at: when its listeners may be closed, if the slot is to go; else None.
        closing: that time has come.
        unopened: added lately, and nobody has listened there yet.
    """

    failures: int = 0
    not_before: float = -math.inf
    closes_at: float | None = None
    closing: bool = False
    unopened: bool = False


@dataclass(slots=True)
class Ending:
    """The server is to stop, and with which exit status.

    Attributes:
        why: what ends it, where nobody has asked for that.
        say_at: when to say for whom it still waits.
    """

    status: int
    within_s: float
    accept_until: float = -math.inf
    reason: str = "exit"
    signals: int = 0
    why: str = ""
    say_at: float = math.inf
