"""What the master knows, as one JSON object: for `pounce ctl status`. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pounce import ipc
from pounce.supervisor.crew import Totals, Worker
from pounce.supervisor.stages import STAYING
from pounce.supervisor.state import Supervisor


@dataclass(slots=True)
class About:
    """What the supervisor does not know of its server.

    Attributes:
        started_at: seconds since 1970.
        begun_at: the same moment on the supervisor's clock.
        last_reload: how the last one ended; None: there was none.
    """

    app: str
    version: str
    pid: int
    addresses: tuple[str, ...]
    started_at: float
    begun_at: float
    last_reload: tuple[int, str, float] | None = None

    def note(self, generation: int, why: str, now: float) -> None:
        """A reload is over: `generation` stays, or was given up because of `why`."""
        self.last_reload = (generation, why, now)

    def facts(self, now: float) -> dict[str, Any]:
        """The status begins with this; "last_reload" has a "why" where it failed."""
        last = None
        if self.last_reload:
            generation, why, at = self.last_reload
            last = {"generation": generation, "ok": not why, "why": why, "ago_s": _since(at, now)}
        return {
            "version": self.version,
            "app": self.app,
            "pid": self.pid,
            "addresses": list(self.addresses),
            "started_at": round(self.started_at, 3),
            "uptime_s": _since(self.begun_at, now),
            "last_reload": last,
        }


def status_of(state: Supervisor, pids: Mapping[int, int], now: float) -> dict[str, Any]:
    """The supervisor's part of the status.

    Args:
        pids: of the workers, by their number; one that is being forked has none.
        now: on the supervisor's clock.

    Returns:
        "state": "starting", "serving", "reloading", "probation", "stopping"; "generation" that
        serves, "coming" (0: none), "slots" wanted; "probation_s" left; "workers", by slot and age;
        "totals" of these workers and of all that are gone.
    """
    beats = [one.heartbeat for one in state.workers.values() if one.heartbeat]
    totals = sum(map(Totals.of, beats), state.past)
    return {
        "state": _state(state),
        "generation": state.serving,
        "coming": state.coming,
        "slots": state.active,
        "slots_out": sorted(set(range(len(state.slots))) - dict(state.weights).keys())
        if state.weights
        else [],
        "probation_s": _left(state.trial_until, now),
        "totals": {
            "requests": totals.requests,
            "accepted": totals.accepted,
            "websockets": _websockets(totals.websockets),
        },
        "workers": [
            _worker(worker, pids.get(worker.id, 0), now)
            for worker in sorted(state.workers.values(), key=lambda one: (one.slot, one.id))
        ],
    }


def _state(state: Supervisor) -> str:
    if state.ending:
        return "stopping"
    if state.trial_until < math.inf:
        return "probation"
    if state.coming:
        return "reloading" if state.serving else "starting"
    return "serving" if state.serving else "starting"


def _worker(worker: Worker, pid: int, now: float) -> dict[str, Any]:
    beat, at_drain = worker.heartbeat, worker.at_drain
    leaving = worker.stage not in STAYING
    return {
        "slot": worker.slot,
        "generation": worker.generation,
        "pid": pid,
        "stage": "stalled" if worker.stalled else worker.stage.value,
        "serving_s": _since(worker.serving_since, now),
        "silent_s": _since(worker.heard_at, now),
        "accepts": worker.accepts,
        "requests": beat.requests if beat else 0,
        "connections": beat.connections if beat else 0,
        "accepted": beat.accepted if beat else 0,
        "in_flight": beat.in_flight if beat else 0,
        "memory": beat.memory if beat else 0,
        "leaving": leaving,
        "left_s": _left(worker.due, now) if leaving else None,
        "open_at_drain": at_drain.http + at_drain.websockets if at_drain else None,
        "websockets_at_drain": at_drain.websockets if at_drain else None,
        "websockets": _websockets(beat.websockets if beat else ipc.WebSockets()),
    }


def _websockets(counts: ipc.WebSockets) -> dict[str, Any]:
    """As in ipc.WebSockets; "deflate_ratio" is of the messages that were compressed, or None."""
    return {
        "open": counts.open,
        "opened": counts.opened,
        "closed": dict(counts.closed),
        "messages_received": counts.messages_received,
        "messages_sent": counts.messages_sent,
        "bytes_received": counts.received,
        "bytes_sent": counts.sent,
        "deflate_ratio": round(counts.plain / counts.packed, 2) if counts.packed else None,
    }


def _since(begun: float, now: float) -> float | None:
    return None if begun == math.inf else round(max(0.0, now - begun), 2)


def _left(until: float, now: float) -> float | None:
    return None if until == math.inf else round(max(0.0, until - now), 2)
