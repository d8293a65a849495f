"""One accepted connection: the only asyncio.Protocol; picks the wire, owns transport and deadlines.

No timer is set per request: once a second a sweep looks at what each connection waits for and since
when it saw no progress there.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Task
from enum import Enum
from time import monotonic
from typing import Final, cast

from pounce.asgi import App
from pounce.worker.connection_info import connection_info, read_proxy_header
from pounce.worker.cut import reset_when_closed
from pounce.worker.http_stream import HttpStream
from pounce.worker.proxy_header import ProxyHeaderError
from pounce.worker.scope import ConnectionInfo
from pounce.worker.sendfile import FileSender, FileSource
from pounce.worker.service import Service
from pounce.worker.taken import progress, untaken
from pounce.worker.wire import Receiver, RequestHead
from pounce.worker.wire.h1 import Http1Wire
from pounce.worker.wire.h1_states import Reading, Writing

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
NOTHING_WRITTEN: Final = (Writing.IDLE, Writing.DUE)

TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 21\r\nretry-after: 1\r\nconnection: close\r\n\r\ntoo many connections\n"
)


class Waiting(Enum):
    """Whom or what a connection waits for, as the sweep sees it."""

    PROXY_HEADER = "the PROXY header"
    FIRST_BYTE = "a first byte"
    HEAD = "the rest of a request's head"
    BODY = "more of a request's body"
    NEXT = "another request"
    READER = "the peer to read"
    CLOSE = "the peer to close"
    APP = "the application"


class Connection(asyncio.Protocol):
    """One connection's `Sink`, and its deadlines.

    Args:
        app: what is served, where that is not the service's own application.
        info: who is at its ends, where that was found out below: there is TLS in between.

    Attributes:
        info: what the scopes of its requests have in common.
    """

    __slots__ = (
        "_admitted",
        "_app",
        "_file",
        "_lingering",
        "_preface",
        "_progress",
        "_rate_bytes",
        "_rate_since",
        "_request",
        "_room",
        "_service",
        "_since",
        "_transport",
        "_waiting",
        "_wire",
        "info",
    )

    def __init__(
        self, service: Service, *, app: App | None = None, info: ConnectionInfo | None = None
    ) -> None:
        self._service = service
        self._app = app or service.app
        self._lingering = False  # our side is closed, and input is dropped
        self._file: FileSender | None = None
        self._room: asyncio.Event | None = None
        self._preface: bytes | None = None
        if info is not None:
            self.info = info
        elif service.proxy_protocol:
            self._preface = b""
        self._waiting = Waiting.FIRST_BYTE
        self._progress: object = None  # what changes while it gets on
        self._since = service.clock.now
        self._rate_since = 0.0
        self._rate_bytes = 0
        self._request = 0  # the number of the one that these belong to

    # What the event loop calls. A protocol factory or connection_made() that raises stops uvloop's
    # listener for good, so what can fail is caught.

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, base)  # uvloop's are none by inheritance
        service = self._service
        self._transport = transport
        transport.set_write_buffer_limits(service.write_buffer)
        if not hasattr(self, "info"):
            self.info = connection_info(transport, service)
        self._wire = Http1Wire(service.reader, self, transport.write, service.rules)
        self._wire.draining = service.draining
        service.connections.add(self)
        service.stats.connections += 1
        service.stats.open += 1
        if service.wake is not None:
            service.wake()
        self._admitted = service.admit(+1)
        if not self._admitted:
            service.admit(-1)  # or those who hear 503 keep out those who would be served
            service.stats.rejected += 1
            service.turned_away += 1
            if service.access is not None:
                service.access.add_refused(503, self.info.client_text)
            transport.write(TOO_MANY)
            self._wire.reading = Reading.IGNORED
            # A flood of them must not hold the descriptors that the limit was to save.
            self.finish(linger=service.turned_away <= service.turned_away_limit)

    def data_received(self, data: bytes) -> None:
        if self._preface is not None:
            data = self._read_proxy_header(self._preface + data)
            if not data:
                return
        self._wire.receive(data)

    def eof_received(self) -> bool:
        if self._preface is not None:
            self.abort()
        else:
            self._wire.receive_eof()
        return True  # the sending side stays open for what is still to be answered

    def connection_lost(self, error: Exception | None) -> None:
        service = self._service
        service.connections.discard(self)
        service.stats.open -= 1
        if self._admitted:
            service.admit(-1)
        else:
            service.turned_away -= 1
        self._wire.lost(str(error) if error is not None else "connection closed")
        if self._file is not None:
            self._file.stop()
        if self._room is not None:
            self._room.set()

    def pause_writing(self) -> None:
        self._wire.set_congested(True)

    def resume_writing(self) -> None:
        self._wire.set_congested(False)
        if self._room is not None:
            self._room.set()

    # What the wire calls.

    def open(self, head: RequestHead) -> Receiver:
        service = self._service
        if head[7] and service.open_websocket is not None:  # tunnel
            return service.open_websocket(self._wire, head, self)
        stream = HttpStream(self._wire, head, self, service)
        if service.access is not None:
            stream.begun = monotonic()
            stream.client = self.info.client_text
        # A task per request keeps context variables apart and makes current_task() right. A name
        # given saves making one up, which costs as much as a small header.
        service.running[stream] = Task(
            stream.run(self._app, self.info.http_scope(head, service.trust, stream)),
            loop=service.loop,
            name="request",
        )
        return stream

    def refused(self, status: int, reason: str) -> None:
        log.debug("request refused status=%d reason=%s", status, reason)
        service = self._service
        service.stats.requests += 1
        if service.access is not None:
            service.access.add_refused(status, self.info.client_text)

    def flush_soon(self) -> None:
        service = self._service
        if not service.unflushed:
            service.loop.call_soon(service.flush)
        service.unflushed.append(self._wire)

    def pause(self) -> None:
        self._transport.pause_reading()

    def resume(self) -> None:
        self._transport.resume_reading()

    def finish(self, *, linger: bool) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        if linger and transport.can_write_eof():
            if not self._lingering:
                self._lingering = True
                transport.write_eof()
        else:
            transport.close()

    def abort(self) -> None:
        self._deny_the_end()
        self._transport.abort()

    def cut(self, reason: str) -> None:
        """Ends it now, whatever is under way; its application hears of it before anything else."""
        self._deny_the_end()
        self._wire.lost(reason)
        self._transport.abort()

    def _deny_the_end(self) -> None:
        """Where a FIN would properly end a response that is not written whole: RST instead."""
        closing = self._lingering or self._transport.is_closing()
        unsent = closing and self._transport.get_write_buffer_size()
        if unsent or self._wire.writing is Writing.UNTIL_CLOSE:
            reset_when_closed(self._transport)

    # What the stream calls.

    async def send_file(self, source: FileSource) -> None:
        """Writes all of `source` once everything before it is out; returns early if that fails."""
        transport = self._transport
        if transport.is_closing():
            return
        transport.set_write_buffer_limits(0)  # congested until the last byte has left
        try:
            while self._wire.congested and not transport.is_closing():
                self._room = asyncio.Event()
                await self._room.wait()
            if transport.get_extra_info("ssl_object") is not None:
                await self._write_file(source)
            elif not transport.is_closing():
                self._file = FileSender(self._service.loop, source)
                await self._file.run(transport.get_extra_info("socket").fileno())
        finally:
            self._file = self._room = None
            if not transport.is_closing():
                transport.set_write_buffer_limits(self._service.write_buffer)

    async def _write_file(self, source: FileSource) -> None:
        """Through the transport: the kernel cannot encipher. One piece is held at a time."""
        for piece in source.pieces():
            if self._transport.is_closing():
                return
            self._transport.write(piece)
            await asyncio.sleep(0)
            while self._wire.congested and not self._transport.is_closing():
                self._room = asyncio.Event()
                await self._room.wait()

    # Deadlines.

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
        waiting, progress = self._state()
        if waiting is not self._waiting or self._wire.requests != self._request:
            self._begin(waiting, progress, now)
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
        if self._preface is not None:
            return Waiting.PROXY_HEADER, None
        if wire.idle:
            return (Waiting.NEXT if wire.requests else Waiting.FIRST_BYTE), wire.requests
        if wire.reading is Reading.HEAD:
            return Waiting.HEAD, wire.requests
        if wire.awaits_body:
            return Waiting.BODY, wire.body_bytes
        # A slow stream may fit into the kernel's buffer for hours after its reader stopped, or was
        # cut off from the network, which the kernel alone finds out after a quarter of an hour.
        if wire.writing not in NOTHING_WRITTEN and untaken(self._transport):
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

    def _begin(self, waiting: Waiting, progress: object, now: float) -> None:
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

    def _read_proxy_header(self, data: bytes) -> bytes:
        """The bytes behind the PROXY header; b"" while it is incomplete or when it is refused."""
        try:
            rest = read_proxy_header(data, self.info, self._service.trust)
        except ProxyHeaderError as error:
            log.warning("connection closed, PROXY header refused reason=%s", error)
            self._preface = None
            self._wire.refuse(400, str(error))
            return b""
        self._preface = data if rest is None else None
        return rest or b""
