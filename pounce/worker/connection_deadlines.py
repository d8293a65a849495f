"""How long one connection is kept on with: the half of a Connection that looks at the clock.

No timer is set per request: once a second a sweep looks at what each connection waits for and since
when it saw no progress there.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from typing import Final

from pounce.worker.sendfile import FileSender
from pounce.worker.service import Service
from pounce.worker.taken import progress, untaken
from pounce.worker.wire import ConnectionWire
from pounce.worker.wire.waiting import Waiting

log = logging.getLogger("pounce")

# After our side is closed: how long input is still read and dropped, without any and in all
# (nginx: 5 and 30 seconds).
LINGER_TIMEOUT: Final = 2.0
LINGER_LONGEST: Final = 30.0
# An idle connection of a draining worker is kept for a request that is already on its way.
DRAIN_LINGER: Final = 0.25
# A new one longer, since its first request cannot be told from none; not for all of silent_timeout,
# since browsers open connections that they may never need.
DRAIN_FIRST_BYTE: Final = 1.0
PROXY_HEADER_TIMEOUT: Final = 5.0


class PeerDeadlines(asyncio.Protocol):
    """The deadlines of one connection; Connection in connection.py is the whole."""

    __slots__ = (
        "_file",
        "_lingering",
        "_progress",
        "_proxied",
        "_rate_bytes",
        "_rate_since",
        "_request",
        "_service",
        "_since",
        "_transport",
        "_waiting",
        "_wire",
    )

    _transport: asyncio.Transport
    _wire: ConnectionWire

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lingering = False  # our side is closed, and input is dropped
        self._file: FileSender | None = None
        self._proxied = service.proxy_protocol  # a PROXY header is to come first
        self._waiting = Waiting.FIRST_BYTE
        self._progress: object = None  # what changes while it gets on
        self._since = service.clock.now
        self._rate_since = 0.0
        self._rate_bytes = 0
        self._request = 0  # the number of the one that these belong to

    @abstractmethod
    def abort(self) -> None:
        """Connection: closes now, whatever was still to be written."""

    def drain(self) -> None:
        """No request after the present one; an idle connection is closed after a short linger."""
        self._wire.drain()
        self._since = self._service.clock.now

    def sweep(self, now: float) -> None:
        """Gives up a peer that has not got on for too long.

        Args:
            now: seconds, growing only while the worker itself was running: a worker that was
                stopped or blocked must not blame its peers for it.
        """
        self._wire.sweep(now)
        waiting, progress = self._state()
        if waiting is not self._waiting or self._wire.requests != self._request:
            self._begin_waiting(waiting, progress, now)
            return
        if progress != self._progress:
            self._progress = progress
            self._since = now
        limit = self._limit(waiting)
        if limit and now - self._since >= limit:
            self._expire(waiting)
        elif waiting is Waiting.CLOSE and now - self._rate_since >= LINGER_LONGEST:
            self.abort()
        elif waiting is Waiting.BODY:
            self._check_rate(now)

    def _state(self) -> tuple[Waiting, object]:
        """What is waited for, and what changes when the peer gets on with it."""
        wire = self._wire
        if self._file is not None:
            return Waiting.READER, progress(self._transport, self._file.sent)
        if size := self._transport.get_write_buffer_size():
            return Waiting.READER, progress(self._transport, size)
        if self._lingering:
            return Waiting.CLOSE, wire.body_bytes
        if self._proxied:
            return Waiting.PROXY_HEADER, None
        waiting = wire.waits_for()
        if waiting is Waiting.BODY:
            return waiting, wire.body_bytes
        if waiting is not Waiting.APP:
            return waiting, wire.requests
        # A slow stream may fit into the kernel's buffer for hours after its reader stopped, or was
        # cut off from the network, which the kernel alone finds out after a quarter of an hour.
        if wire.answers and untaken(self._transport):
            return Waiting.READER, progress(self._transport, 0)
        return Waiting.APP, None

    def _limit(self, waiting: Waiting) -> float:
        timeouts = self._service.timeouts
        match waiting:
            case Waiting.FIRST_BYTE if self._wire.draining:
                return min(timeouts.silent_timeout or DRAIN_FIRST_BYTE, DRAIN_FIRST_BYTE)
            case Waiting.FIRST_BYTE:
                return timeouts.silent_timeout
            case Waiting.HEAD:
                return timeouts.head_timeout
            case Waiting.BODY:
                return timeouts.body_timeout
            case Waiting.NEXT:
                return DRAIN_LINGER if self._service.leaving else timeouts.keep_alive_timeout
            case Waiting.READER:
                return timeouts.write_timeout
            case Waiting.CLOSE:
                return DRAIN_LINGER if self._service.leaving else LINGER_TIMEOUT
            case Waiting.PROXY_HEADER:
                return PROXY_HEADER_TIMEOUT
            case Waiting.APP:
                return 0.0

    def _begin_waiting(self, waiting: Waiting, progress: object, now: float) -> None:
        self._waiting = waiting
        self._progress = progress
        self._since = self._rate_since = now
        self._rate_bytes = self._wire.body_bytes
        self._request = self._wire.requests

    def _check_rate(self, now: float) -> None:
        """A body that comes drop by drop is progress, and yet holds a place for ever."""
        timeouts = self._service.timeouts
        passed = now - self._rate_since
        if not timeouts.body_timeout or passed < timeouts.body_timeout:
            return
        if self._wire.body_bytes - self._rate_bytes < timeouts.body_min_rate * passed:
            self._wire.refuse(408, f"request body came at under {timeouts.body_min_rate} bytes/s")
        self._rate_since = now
        self._rate_bytes = self._wire.body_bytes

    def _expire(self, waiting: Waiting) -> None:
        log.debug("peer did not get on, closing waited_for=%s", waiting.value)
        match waiting:
            case Waiting.HEAD:
                self._wire.refuse(408, "request head did not come in time")
            case Waiting.BODY:
                self._wire.refuse(408, "request body did not come in time")
            case Waiting.NEXT:
                # The next request may be on its way: a FIN now is clean, a RST would not be.
                self._wire.close_idle()
            case Waiting.FIRST_BYTE:
                self._transport.close()
            case _:
                self.abort()
