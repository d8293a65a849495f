"""TLS between an accepted socket's transport and a Connection, which takes it for a transport.

The loops have TLS of their own. It hides connections until their handshake is over, from limits,
deadlines and drains alike, cannot close one direction alone, gives no alert for ALPN, and knows no
PROXY header. This is the same on both loops, and costs less.

Source: RFC 8446; RFC 5246; RFC 7301.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, cast

from pounce.tls import Tls
from pounce.worker.client_hello import (
    HANDSHAKE,
    NO_APPLICATION_PROTOCOL,
    IncompleteError,
    offered_protocols,
)
from pounce.worker.connection_info import connection_info, read_proxy_header
from pounce.worker.proxy_header import ProxyHeaderError
from pounce.worker.scope import ConnectionInfo
from pounce.worker.service import Service
from pounce.worker.tls_extension import tls_extension

log = logging.getLogger("pounce")

RECORD: Final = 16 * 1024  # bytes: one record holds no more (RFC 8446 §5.1)
# Bytes made into records at a time: a body of 100 MiB is not held twice.
PIECE: Final = 256 * 1024
# Bytes of answers to new keys and the like that a peer may ask for while it reads nothing.
ANSWERS_MOST: Final = 4096
# Whoever was told why there is no connection gets this long to read it.
FAREWELL: Final = 2.0  # seconds
# A handshake that is under way when a drain begins; as for a first request.
DRAIN_HANDSHAKE: Final = 1.0  # seconds

PLAIN_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 33\r\nconnection: close\r\n\r\nthis port speaks https, not http\n"
)


class Stage(Enum):
    """Where the connection is."""

    PROXY_HEADER = "before the PROXY header is whole"
    HELLO = "before the ClientHello is whole"
    HANDSHAKE = "in the handshake"
    OPEN = "both sides may write"
    SHUT = "our side is closed: what comes is counted and dropped"
    FAILED = "there will be no connection"


_OPEN, _SHUT = Stage.OPEN, Stage.SHUT


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The loop's protocol below, and the Connection's transport above.

    Until the handshake is over it stands in for the Connection: in the worker's count of open
    connections, for max_connections, sweeps and drains.

    Args:
        connect: makes the Connection, once there is one.

    Attributes:
        info: who is at the two ends.
    """

    __slots__ = (
        "_admitted",
        "_answers",
        "_begun",
        "_connect",
        "_deadline",
        "_eof",
        "_incoming",
        "_outgoing",
        "_protocol",
        "_raw",
        "_service",
        "_ssl",
        "_stage",
        "_tls",
        "info",
    )

    def __init__(
        self, service: Service, tls: Tls, connect: Callable[[ConnectionInfo], asyncio.Protocol]
    ) -> None:
        self._service = service
        self._tls = tls
        self._connect = connect
        self._protocol: asyncio.Protocol | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._stage = Stage.PROXY_HEADER if service.proxy_protocol else Stage.HELLO
        self._begun = b""  # what came before it could be judged
        self._answers = 0  # bytes that TLS itself has written to a peer that reads nothing
        self._eof = False  # the peer sends nothing more, and the Connection knows
        self._deadline = service.clock.now + service.timeouts.tls_handshake_timeout
        if service.draining:
            self.drain()

    # What the event loop calls. As in Connection: nothing here may raise.

    def connection_made(self, base: asyncio.BaseTransport) -> None:
        self._raw = raw = cast(asyncio.Transport, base)  # uvloop's are none by inheritance
        service = self._service
        self.info = connection_info(raw, service, scheme="https")
        service.connections.add(self)
        service.stats.open += 1
        if service.wake is not None:
            service.wake()
        self._admitted = service.admit(+1)
        if not self._admitted:
            service.admit(-1)
            service.turned_away += 1
            # Some get a handshake, to hear 503 behind it: it is the dearest part of a request.
            if service.turned_away > service.turned_away_limit:
                service.stats.rejected += 1
                raw.abort()

    def data_received(self, data: bytes) -> None:
        stage = self._stage
        if stage is _OPEN:
            self._incoming.write(data)
            self._deliver()
        elif stage is _SHUT:
            assert self._protocol is not None
            self._protocol.data_received(data)
        elif stage is Stage.HANDSHAKE:
            self._incoming.write(data)
            self._shake_hands()
        elif stage is not Stage.FAILED:
            self._begin(self._begun + data)

    def eof_received(self) -> bool:
        """An end without close_notify is as good as one with it: HTTP says itself what is whole."""
        if self._stage is _OPEN or self._stage is _SHUT:
            self._tell_eof()
            return True
        self._raw.abort()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(error)
        else:
            self._stage = Stage.FAILED
            self._service.stats.connections += 1
            self._leave()

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    # What the worker calls while there is no Connection.

    def drain(self) -> None:
        self._deadline = min(self._deadline, self._service.clock.now + DRAIN_HANDSHAKE)

    def sweep(self, now: float) -> None:
        if now >= self._deadline:
            log.debug("tls handshake was not over in time client=%s", self.info.client_text)
            self._raw.abort()

    def cut(self, reason: str) -> None:
        self._raw.abort()

    # The handshake.

    def _begin(self, data: bytes) -> None:
        """Looks at the first bytes, which openssl gets once they are a whole ClientHello."""
        if self._stage is Stage.PROXY_HEADER:
            try:
                rest = read_proxy_header(data, self.info, self._service.trust)
            except ProxyHeaderError as error:
                log.warning("connection closed, PROXY header refused reason=%s", error)
                self._fail(b"")
                return
            if rest is None:
                self._begun = data
                return
            self._stage, data = Stage.HELLO, rest
        if not data:
            self._begun = b""
            return
        if data[0] != HANDSHAKE:
            self._fail(PLAIN_HTTP if data[:1].isalpha() else b"")
            return
        try:
            offered = offered_protocols(data)
        except IncompleteError:
            self._begun = data
            return
        except ValueError:
            offered = []  # openssl knows the right alert
        if offered and not set(offered) & {each.encode() for each in self._tls.protocols}:
            log.debug("tls handshake refused, no common protocol offered=%s", offered)
            self._fail(NO_APPLICATION_PROTOCOL)
            return
        self._stage, self._begun = Stage.HANDSHAKE, b""
        self._incoming.write(data)
        self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLError, ValueError) as error:
            log.debug("tls handshake failed client=%s error=%s", self.info.client_text, error)
            self._fail(self._outgoing.read())
        else:
            self._flush()
            self._open()

    def _open(self) -> None:
        self._stage = _OPEN
        self._leave()
        self.info.add_extension("tls", tls_extension(self._ssl, self._tls))
        self._protocol = self._connect(self.info)
        self._protocol.connection_made(self)
        if self._incoming.pending:
            self._deliver()

    def _fail(self, farewell: bytes) -> None:
        self._stage, self._begun = Stage.FAILED, b""
        self._deadline = min(self._deadline, self._service.clock.now + FAREWELL)
        if farewell:
            self._raw.write(farewell)
        self._raw.close()

    def _leave(self) -> None:
        """From here on it is the Connection that counts, if there is one."""
        service = self._service
        service.connections.discard(self)
        service.stats.open -= 1
        if self._admitted:
            service.admit(-1)
        else:
            service.turned_away -= 1

    # Both directions.

    def _deliver(self) -> None:
        """Hands up what is there: nearly always one record, which is one request."""
        pieces: list[bytes] = []
        ended = False
        read, incoming, connection = self._ssl.read, self._incoming, self._ssl
        try:
            while True:
                piece = read(RECORD)
                if not piece:
                    ended = True
                    break
                pieces.append(piece)
                # To ask once more than needed costs an exception.
                if not incoming.pending and not connection.pending():
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            log.debug("tls failed client=%s error=%s", self.info.client_text, error)
            self._flush()  # the alert
            self._raw.close()
            return
        if self._outgoing.pending:
            self._answer()
        protocol = self._protocol
        assert protocol is not None
        if pieces and not self._eof:
            protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if ended:
            self._tell_eof()

    def _answer(self) -> None:
        """What TLS itself has to say, such as to new keys. It would pile up past all limits."""
        if self._raw.get_write_buffer_size():
            self._answers += self._outgoing.pending
            if self._answers > ANSWERS_MOST:
                log.debug("peer wants answers and reads none client=%s", self.info.client_text)
                self._raw.abort()
                return
        else:
            self._answers = 0
        self._flush()

    def _tell_eof(self) -> None:
        if not self._eof or self._stage is _SHUT:
            self._eof = True
            assert self._protocol is not None
            self._protocol.eof_received()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._raw.write(data)

    # What the Connection calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._stage is not _OPEN or not data:
            return
        try:
            if len(data) <= RECORD:
                self._ssl.write(data)
            else:
                view = memoryview(data)
                for at in range(0, len(view), PIECE):
                    piece = view[at : at + PIECE]
                    while piece:
                        piece = piece[self._ssl.write(piece) :]
                    self._raw.write(self._outgoing.read())
                return
        except ssl.SSLError as error:
            log.debug("tls failed client=%s error=%s", self.info.client_text, error)
            self._raw.abort()
            return
        self._raw.write(self._outgoing.read())

    def write_eof(self) -> None:
        """Closes our direction; the peer may still write, and what it writes is not deciphered."""
        if self._stage is _OPEN:
            self._say_goodbye()
            self._stage = _SHUT
            if self._raw.can_write_eof():
                self._raw.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        """Closes once all is written. Does not wait for the peer's close_notify (RFC 8446 §6.1)."""
        if self._stage is _OPEN and not self._raw.is_closing():
            self._say_goodbye()
        self._raw.close()

    def _say_goodbye(self) -> None:
        """close_notify, so that nobody can pass off a cut for the end of a response."""
        with contextlib.suppress(ssl.SSLError):  # that the peer's has not come is no error
            self._ssl.unwrap()
        self._flush()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As asyncio's: "ssl_object" says what was negotiated; the rest is the socket's."""
        return self._ssl if name == "ssl_object" else self._raw.get_extra_info(name, default)
