"""How a server stops, and what it makes of time in which it stood still."""

from __future__ import annotations

from pounce import ipc
from pounce.errors import EXIT_OK
from pounce.supervisor.crew import (
    GRACE_S,
    HURRY_S,
    WAITING_AGAIN_S,
    WAITING_S,
    Ending,
    Policy,
)
from pounce.supervisor.orders import Finish, StopListening, Tell
from pounce.supervisor.slots import Slots
from pounce.supervisor.stages import STAYING, Cue, Stage


class Endings(Slots):
    """The part of the Supervisor that ends it.

    Attributes:
        listening: somebody accepts, or will.
        finished: there is nothing left to decide.
    """

    def __init__(self, *, slots: int, policy: Policy, steerable: bool) -> None:
        super().__init__(slots=slots, policy=policy, steerable=steerable)
        self.listening = True
        self.finished = False

    def _stop(self, now: float, *, interrupt: bool = False) -> None:
        if self.ending is None:
            reason = "interrupt" if interrupt else "exit"
            self._end(EXIT_OK, now, delay=self.policy.drain_delay, reason=reason)
            within_s, delay_s = self.policy.shutdown_timeout, self.policy.drain_delay
            delay = {"delay_s": delay_s} if delay_s else {}
            self._note("info", "stopping", None, within_s=within_s, **delay)
        assert self.ending
        self.ending.signals += 1
        if self.ending.signals == 2:
            self.ending.within_s = min(HURRY_S, self.policy.shutdown_timeout)
            self.ending.accept_until = now
            self._note("warning", "told to stop again, hurrying", within_s=self.ending.within_s)
            for worker in self.workers.values():
                if worker.stage is Stage.DRAINING:
                    self._retire(worker, self.ending.reason, now)
        elif self.ending.signals > 2:
            self._note("warning", "told to stop a third time, killing the workers")
            for id in list(self.workers):
                while (worker := self.workers[id]).stage is not Stage.DOOMED:
                    self._cue(worker.id, Cue.OVERDUE, now)

    def _end(self, status: int, now: float, *, delay: float = 0.0, reason: str = "exit") -> None:
        if self.ending is None:
            within = self.policy.shutdown_timeout
            self.ending = Ending(status, within, accept_until=now + delay, reason=reason)
            if status == EXIT_OK:
                self.ending.say_at = now + delay + WAITING_S

    def _wind_up(self, ending: Ending, now: float) -> None:
        self._steer_no_more()
        for worker in self.workers.values():
            if worker.stage not in STAYING and worker.stage is not Stage.LEAVING:
                continue
            if now < ending.accept_until and worker.accepts:
                if not worker.lame:
                    worker.lame = True
                    self._actions.append(Tell(worker.id, ipc.LameDuck()))
            else:
                self._retire(worker, ending.reason, now)
        if self.listening and not any(worker.accepts for worker in self.workers.values()):
            self.listening = False
            self._actions.append(StopListening())
        if now >= ending.say_at:
            ending.say_at = now + WAITING_AGAIN_S
            self._say_who_is_left(ending, now)
        if not self.workers:
            if ending.status != EXIT_OK:  # last, and with the reason, for who looks there
                text = f"the server cannot start: {ending.why}"
                self._note("error", text, status=ending.status)
            self.finished = True
            self._actions.append(Finish(ending.status))

    def _say_who_is_left(self, ending: Ending, now: float) -> None:
        left = [worker for worker in self.workers.values() if worker.stage is Stage.DRAINING]
        left_s = max((worker.due - GRACE_S - now for worker in left), default=0.0)
        if left_s <= 0:
            return
        beats = [worker.heartbeat for worker in left if worker.heartbeat]
        self._note(
            "info",
            "waiting for open connections" + ", a second signal hurries" * (ending.signals == 1),
            workers=len(left),
            connections=sum(beat.connections for beat in beats),
            websockets=sum(beat.websockets.open for beat in beats),
            left_s=left_s,
        )

    def _slept(self, seconds: float) -> None:
        """Nobody could be heard meanwhile, and time in which nobody listens is not counted."""
        for worker in self.workers.values():
            worker.heard_at += seconds
            worker.suspect_at += seconds
            if worker.stage in STAYING:
                worker.due += seconds
