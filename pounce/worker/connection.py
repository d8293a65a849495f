"""One accepted connection: the only asyncio.Protocol; picks the wire, and owns the transport.

How long it is kept on with is in connection_deadlines.py, which is the other half of the same
object.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Task
from time import monotonic
from typing import Final, cast

from pounce.asgi import App
from pounce.worker.connection_deadlines import PeerDeadlines
from pounce.worker.connection_info import connection_info, read_proxy_header
from pounce.worker.cut import reset_when_closed
from pounce.worker.http_stream import HttpStream
from pounce.worker.proxy_header import ProxyHeaderError
from pounce.worker.scope import ConnectionInfo
from pounce.worker.sendfile import FileSender, FileSource
from pounce.worker.service import Service
from pounce.worker.wire import Receiver, RequestHead, Wire
from pounce.worker.wire.h1 import Http1Wire

log = logging.getLogger("pounce")

# What a client of HTTP/2 says first (RFC 9113 §3.4).
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 21\r\nretry-after: 1\r\nconnection: close\r\n\r\ntoo many connections\n"
)


class Connection(PeerDeadlines):
    """One connection's `Sink`.

    Args:
        app: what is served, where that is not the service's own application.
        info: who is at its ends, where that was found out below: there is TLS in between.

    Attributes:
        info: what the scopes of its requests have in common.
    """

    __slots__ = ("_admitted", "_app", "_preface", "_room", "info")

    def __init__(
        self, service: Service, *, app: App | None = None, info: ConnectionInfo | None = None
    ) -> None:
        super().__init__(service)
        self._app = app or service.app
        if info is not None:
            self.info = info
            self._proxied = False  # whoever found that out has read it
        # What came before it is known what speaks here; None once it is. Over TLS, ALPN has said.
        undecided = self._proxied or (service.open_http2 is not None and info is None)
        self._preface: bytes | None = b"" if undecided else None
        self._room: asyncio.Event | None = None

    # What the event loop calls. A protocol factory or connection_made() that raises stops uvloop's
    # listener for good, so what can fail is caught.

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, base)  # uvloop's are none by inheritance
        service = self._service
        self._transport = transport
        transport.set_write_buffer_limits(service.write_buffer)
        protocol = ""
        if hasattr(self, "info"):
            protocol = transport.get_extra_info("ssl_object").selected_alpn_protocol() or ""
        else:
            self.info = connection_info(transport, service)
        self._wire = Http1Wire(service.reader, self, transport.write, service.rules)
        if service.draining:
            self._wire.drain()
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
            if protocol != "h2":
                transport.write(TOO_MANY)
            self._wire.ignore()
            self._preface = None
            # A flood of them must not hold the descriptors that the limit was to save.
            self.finish(linger=service.turned_away <= service.turned_away_limit)
        elif protocol == "h2":
            self.speak(protocol)
            self._wire.flush()  # the server's SETTINGS need not wait for the client's

    def data_received(self, data: bytes) -> None:
        if self._preface is not None:
            data = self._begin(self._preface + data)
            if not data:
                return
        self._wire.receive(data)

    def eof_received(self) -> bool:
        if self._proxied:
            self.abort()
            return True
        if self._preface:  # what began like HTTP/2 will be none
            self._wire.receive(self._preface)
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

    def open(self, head: RequestHead, wire: Wire) -> Receiver:
        service = self._service
        if head[7] and service.open_websocket is not None:  # tunnel
            return service.open_websocket(wire, head, self)
        stream = HttpStream(wire, head, self, service)
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

    def is_running(self, receiver: Receiver) -> bool:
        return receiver in self._service.running

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
                try:
                    transport.write_eof()
                except OSError:  # ENOTCONN: what was written just now is answered by a reset
                    transport.abort()
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
        if unsent or self._wire.ends_by_closing:
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

    # How it begins.

    def _begin(self, data: bytes) -> bytes:
        """What of the first bytes is for the wire, once it is known which that is; else b""."""
        if self._proxied:
            data = self._read_proxy_header(data)
        if self._proxied or self._preface is None:
            return data
        service = self._service
        if service.open_http2 is None or not data:
            self._preface = None if data else b""
            return data
        if data.startswith(PREFACE):
            self.speak("h2")
        elif PREFACE.startswith(data):
            self._preface = data
            return b""
        self._preface = None
        return data

    def speak(self, protocol: str) -> None:
        """Takes the wire of a protocol that both sides know of, before anything was read.

        Args:
            protocol: as ALPN names it (RFC 7301); what is not "h2" stays HTTP/1.
        """
        self._preface = None
        service = self._service
        if protocol == "h2" and service.open_http2 is not None:
            self._wire = service.open_http2(self, self._transport.write)
            if service.draining:
                self._wire.drain()

    def _read_proxy_header(self, data: bytes) -> bytes:
        """The bytes behind the PROXY header; b"" while it is incomplete or when it is refused."""
        try:
            rest = read_proxy_header(data, self.info, self._service.trust)
        except ProxyHeaderError as error:
            log.warning("connection closed, PROXY header refused reason=%s", error)
            self._preface, self._proxied = None, False
            self._wire.refuse(400, str(error))
            return b""
        if rest is None:
            self._preface = data
            return b""
        self._proxied = False
        return rest
