"""How an HTTP/2 connection ends: told in two phases, at once for who breaks the rules, or lost.

A client that is told to go may have sent a request that crosses the word. So it is first told only
that the end is near, and a ping is sent behind; what comes before its answer is served, and then
the last number is told (RFC 9113 §6.8). h2 closes its machine with GOAWAY, so these are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from pounce.worker.wire import Sink
from pounce.worker.wire.h2_frames import LAST_STREAM, NO_ERROR, goaway, ping
from pounce.worker.wire.h2_output import Http2Rules
from pounce.worker.wire.h2_streams import Http2Streams

# In case no answer to our ping comes.
PARTING_TIMEOUT: Final = 1.0  # seconds
PARTING_PING: Final = b"parting!"


class Parting(Enum):
    """How far a connection is on its way to the end."""

    SERVING = "new requests are welcome"
    TOLD = "the peer was told to bring no more, and may not have heard it"
    PARTED = "it has: what comes now is refused"
    CLOSED = "nothing is read any more"


_SERVING, _TOLD, _PARTED, _CLOSED = Parting.SERVING, Parting.TOLD, Parting.PARTED, Parting.CLOSED


class Http2Parting(Http2Streams):
    """The end; Http2Wire in h2.py is the whole.

    Attributes:
        parting: how far it has come.
        draining: no connection shall outlive its present requests.
    """

    __slots__ = ("_left_at", "_peer_leaves", "draining", "parting")

    def __init__(self, sink: Sink, write: Callable[[bytes], None], rules: Http2Rules) -> None:
        super().__init__(sink, write, rules)
        self.parting = _SERVING
        self.draining = False
        self._left_at = 0.0  # when the peer was told
        self._peer_leaves = False  # it will ask for nothing more

    def drain(self) -> None:
        """The peer is told to bring no more requests to this connection."""
        self.draining = True
        self.begin_parting()

    def begin_parting(self) -> None:
        """GOAWAY, first phase."""
        if self.parting is _SERVING:
            self.parting = _TOLD
            self._left_at = self.rules.clock()
            self.machine.out += [goaway(LAST_STREAM, NO_ERROR), ping(PARTING_PING)]
            self.soon()

    def part(self) -> None:
        """GOAWAY, second phase: the peer has heard the first."""
        if self.parting is _TOLD:
            self.parting = _PARTED
            self._say_last(NO_ERROR)
            self.soon()
            self.stream_over()

    def stream_over(self) -> None:
        if not self.streams and (self.parting is _PARTED or self._peer_leaves):
            self.close_idle()

    def close_idle(self) -> None:
        """Nobody asked for anything for long enough, or will be served any more."""
        self._close(NO_ERROR, linger=not self._peer_leaves)

    def fail_connection(self, code: int, reason: str, *, said: bool = False) -> None:
        """The peer broke a rule that concerns all of it.

        Args:
            said: the GOAWAY is written already.
        """
        if self.parting is _CLOSED:
            return
        self.all_gone(reason)
        self._sink.refused(400, reason)
        self._close(code, linger=True, said=said)

    def refuse(self, status: int, reason: str) -> None:
        """The owner gives up on the peer."""
        self.fail_connection(NO_ERROR, reason)

    def ignore(self) -> None:
        """Drops what comes from now on."""
        self.parting = _CLOSED

    def lost(self, reason: str) -> None:
        """The transport is gone."""
        self.parting = _CLOSED
        self.machine.out = []
        self.all_gone(reason)

    def flush(self) -> None:
        """Writes what the windows and the transport let out; nothing behind the last GOAWAY."""
        if self.parting is not _CLOSED:
            super().flush()

    def sweep(self, now: float) -> None:
        if self.parting is _CLOSED:
            return
        super().sweep(now)
        if self.parting is _TOLD and now - self._left_at >= PARTING_TIMEOUT:
            self.part()

    def _say_last(self, code: int) -> None:
        self.machine.out.append(goaway(self.machine.highest_inbound_stream_id, code))

    def _close(self, code: int, *, linger: bool, said: bool = False) -> None:
        if self.parting is _CLOSED:
            return
        self.parting = _CLOSED
        if not said:
            self._say_last(code)
        self._write_out()
        self.body_bytes = 0
        self._sink.finish(linger=linger)
