"""How long one open WebSocket is kept on with: looked at now and then, what is to be done about it.

No timer is set for a WebSocket, and no clock read: whoever looks says what time it is, and what
has come and gone by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from pounce.worker.wire.close_codes import GOING_AWAY, INTERNAL_ERROR, POLICY


class WebSocketTimeouts(NamedTuple):
    """When a WebSocket that does not get on is given up; the settings say more.

    All in seconds, 0 for never.

    Attributes:
        handshake: for the application to accept or deny.
        ping_interval: without a byte from the peer until it is pinged.
        ping_timeout: without a byte from the peer once it was.
        idle: without a byte from the peer or a message to it.
        frame: without a byte while a frame has come in part; the body_timeout.
        frame_min_rate: bytes per second of such a frame, averaged over each `frame`.
        max_rate: messages per second, of the peer.
    """

    handshake: float = 0.0
    ping_interval: float = 0.0
    ping_timeout: float = 0.0
    idle: float = 0.0
    frame: float = 0.0
    frame_min_rate: int = 0
    max_rate: int = 0


class Verdict(Enum):
    """What is to be done about a WebSocket."""

    NOTHING = "it gets on"
    REST = "it has paused: give back the memory that only a busy one needs"
    PING = "ask the peer for a sign of life"
    SILENT = "the peer has given none"
    IDLE = "nobody has said anything for too long"
    HALF = "the rest of a frame does not come"
    FLOOD = "the peer says too much"
    OLD = "its time is over"


# What the peer is told by verdict.
ENDS: Final[Mapping[Verdict, tuple[int, str]]] = {
    Verdict.SILENT: (INTERNAL_ERROR, "a ping was not answered"),
    Verdict.IDLE: (GOING_AWAY, "nothing was said for too long"),
    Verdict.HALF: (POLICY, "the rest of a frame did not come in time"),
    Verdict.FLOOD: (POLICY, "too many messages a second"),
    Verdict.OLD: (GOING_AWAY, "the time of this WebSocket is over"),
}


class Deadlines:
    """The deadlines of one WebSocket.

    Args:
        timeouts: what all share.
        until: when its lifetime is over; 0 for never.

    Attributes:
        alive_at: when something was last seen to come or go.
    """

    __slots__ = (
        "_credit",
        "_frame_bytes",
        "_frame_since",
        "_heard_at",
        "_looked_at",
        "_messages",
        "_pinged_at",
        "_received",
        "_rested",
        "_said",
        "_stalled",
        "_timeouts",
        "_until",
        "alive_at",
    )

    def __init__(self, timeouts: WebSocketTimeouts, now: float, until: float = 0.0) -> None:
        self._timeouts = timeouts
        self._until = until
        self.alive_at = self._heard_at = self._looked_at = now
        self._received = 0
        self._said = 0
        self._messages = 0
        self._credit: float = timeouts.max_rate
        self._pinged_at = -1.0  # -1: it was heard since
        self._frame_since = -1.0  # -1: between two frames when last looked at
        self._frame_bytes = 0
        self._rested = False
        self._stalled = 0.0

    def look(
        self,
        now: float,
        *,
        received: int,
        messages: int,
        said: int,
        midway: bool,
        deaf: bool,
        unread: bool,
        stalled: float = 0.0,
    ) -> Verdict:
        """What is to be done now. A verdict that ends it is given again at the next look.

        Args:
            received, messages: bytes and messages of the peer, so far.
            said: messages to the peer, so far.
            midway: a frame has come in part.
            deaf: we do not read, so that nobody can be blamed for silence.
            unread: much that was said waits for the peer to read it, and a ping would come behind
                all of that. Whether it does read is another's to see to: the write_timeout.
            stalled: seconds, in all, that are missing from `now` as the worker stood still.
        """
        timeouts = self._timeouts
        if self._until and now >= self._until:
            return Verdict.OLD
        if timeouts.max_rate and self._is_flood(now, stalled, messages, deaf=deaf):
            return Verdict.FLOOD
        if said != self._said:
            self._said = said
            self.alive_at = now
        if deaf or received != self._received:
            return self._heard(now, received, midway and not deaf)
        silence = now - self._heard_at
        if midway and timeouts.frame and silence >= timeouts.frame:
            return Verdict.HALF
        if unread:
            self.alive_at = now
            self._pinged_at = -1.0
            return Verdict.NOTHING
        if timeouts.idle and now - self.alive_at >= timeouts.idle:
            return Verdict.IDLE
        if self._pinged_at >= 0:
            if timeouts.ping_timeout and now - self._pinged_at >= timeouts.ping_timeout:
                return Verdict.SILENT
        elif timeouts.ping_interval and silence >= timeouts.ping_interval:
            self._pinged_at = now
            return Verdict.PING
        if self._rested or midway:
            return Verdict.NOTHING
        self._rested = True
        return Verdict.REST

    def _heard(self, now: float, received: int, midway: bool) -> Verdict:
        self._received = received
        self._heard_at = self.alive_at = now
        self._pinged_at = -1.0
        self._rested = False
        if not midway:
            self._frame_since = -1.0
        elif self._frame_since < 0:
            self._frame_since = now
            self._frame_bytes = received
        elif self._timeouts.frame and now - self._frame_since >= self._timeouts.frame:
            # What comes drop by drop is progress, and yet holds memory for ever.
            passed, self._frame_since = now - self._frame_since, now
            came, self._frame_bytes = received - self._frame_bytes, received
            if came < self._timeouts.frame_min_rate * passed:
                return Verdict.HALF
        return Verdict.NOTHING

    def _is_flood(self, now: float, stalled: float, messages: int, *, deaf: bool) -> bool:
        """A bucket of one second's worth that fills at the rate allowed.

        It may run over while we do not read: what comes in that time comes to us all at once.
        """
        rate = self._timeouts.max_rate
        passed = now - self._looked_at + stalled - self._stalled
        credit = self._credit + rate * passed - (messages - self._messages)
        held_up = deaf or stalled != self._stalled
        self._looked_at, self._stalled, self._messages = now, stalled, messages
        self._credit = credit if held_up else min(float(rate), credit)
        return credit < 0
