"""One HTTP request as ASGI: what the wire says becomes messages, and messages become calls down.

Knows no HTTP version: the same class serves HTTP/1.1 and HTTP/2.

Source: ASGI 3.0, HTTP & WebSocket specification 2.5.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from enum import Enum
from typing import Final

from pounce.asgi import App, Headers, Message, Scope
from pounce.worker.sendfile import FileSource, open_descriptor, open_path
from pounce.worker.service import Peer, Service
from pounce.worker.wire import RequestHead, ResponseError, Wire

log = logging.getLogger("pounce")

# A send() that never waits would keep every other connection of the worker waiting, since asyncio
# does not preempt: after so many in a row it gives way once.
SENDS_IN_A_ROW: Final = 32


class ClientDisconnected(OSError):  # noqa: N818  # what happened, not a fault
    """send() after the peer has left. Not logged when the application lets it pass (ASGI 2.4)."""


class Stage(Enum):
    """Where the response is; the value says which messages are expected next."""

    START = "http.response.start or http.response.early_hint"
    HELD = "http.response.body, http.response.pathsend or http.response.zerocopysend"
    BODY = "more http.response.body, http.response.pathsend or http.response.zerocopysend"
    FILE = "nothing before the file is sent whole"
    TRAILERS = "http.response.trailers"
    DONE = "nothing, the response is complete"
    GONE = "nothing, the client has left"


class Body(Enum):
    """Where the request's body is."""

    COMING = "more is to come"
    WHOLE = "all is here, and the application does not know yet"
    TOLD = "the application was told that it is whole"


_COMING, _WHOLE, _TOLD = Body.COMING, Body.WHOLE, Body.TOLD
_START, _HELD, _BODY, _FILE = Stage.START, Stage.HELD, Stage.BODY, Stage.FILE
_TRAILERS, _DONE, _GONE = Stage.TRAILERS, Stage.DONE, Stage.GONE

# Which message may come at which stage; a missing pair is the application's error.
ALLOWED: Final[Mapping[str, frozenset[Stage]]] = {
    "http.response.early_hint": frozenset((_START,)),
    "http.response.start": frozenset((_START,)),
    "http.response.body": frozenset((_HELD, _BODY)),
    "http.response.pathsend": frozenset((_HELD, _BODY)),
    "http.response.zerocopysend": frozenset((_HELD, _BODY)),
    "http.response.trailers": frozenset((_TRAILERS,)),
}


class HttpStream:
    """The `Receiver` of one request, and its application's receive() and send().

    Attributes:
        client, begun: who asked and when, as access_log.Response; set only where there is a log.
        status: of the response, or of what the peer was answered with instead; 0 before that.
        sent: body bytes of the response handed to the wire.
    """

    __slots__ = (
        "_body",
        "_changed",
        "_chunks",
        "_headers",
        "_left",
        "_peer",
        "_sends",
        "_service",
        "_stage",
        "_trailers",
        "_wire",
        "begun",
        "client",
        "head",
        "sent",
        "status",
    )

    begun: float
    client: str

    def __init__(self, wire: Wire, head: RequestHead, peer: Peer, service: Service) -> None:
        self._wire = wire
        self._peer = peer
        self._service = service
        self._stage = _START
        self._body = _COMING if head[5] else _WHOLE  # has_body
        self._chunks: list[bytes] | None = None  # of the body, not yet received
        self._left = False  # the client closed its sending side
        self._changed: asyncio.Event | None = None
        self.head = head
        self._sends = 0
        self.status = 0
        self.sent = 0

    # What the wire calls.

    def data(self, data: bytes) -> None:
        if self._chunks is None:
            self._chunks = [data]
        else:
            self._chunks.append(data)
        self._wake()

    def end(self) -> None:
        self._body = _WHOLE
        self._wake()

    def half_closed(self) -> None:
        self._left = True
        self._wake()

    def gone(self, reason: str, status: int = 0) -> None:
        if self._stage is not _DONE:
            if self._stage is _START or self._stage is _HELD:  # what send() was told is not out
                self.status = status
                if status:
                    log.debug("request refused status=%d reason=%s", status, reason)
            self._stage = _GONE
            self._response_over()
        self._wake()

    def resumed(self) -> None:
        self._wake()

    # What the application calls.

    async def receive(self) -> Message:
        """The next part of the body, then ``http.disconnect`` once the response or client is gone.

        A client that only closes its sending side is told of as gone too, since nothing tells the
        one from the other before a write fails; send() goes on working for it.
        """
        while self._stage is not _DONE and self._stage is not _GONE:
            if self._chunks:
                body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
                self._chunks = None
                self._wire.consumed(self.head.stream, len(body))
                more = self._body is _COMING
                if not more:
                    self._body = _TOLD
                return {"type": "http.request", "body": body, "more_body": more}
            if self._body is _WHOLE:
                self._body = _TOLD
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._body is _COMING:
                self._wire.continue_body(self.head.stream)
            elif self._left:
                break
            await self._until_changed()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Takes one message of the response.

        Raises:
            ClientDisconnected: the peer has left.
            ResponseError: the message cannot come now, or not like this. Nothing of it is written.
        """
        kind = message["type"]
        if kind == "http.response.start":
            if self._stage is not _START:
                raise self._unexpected(kind)
            self.status = message["status"]
            headers = message.get("headers", ())
            self._headers: Headers = headers if type(headers) is list else list(headers)
            self._trailers: bool = message.get("trailers", False)
            self._stage = _HELD
        elif kind == "http.response.body":
            if self._stage is not _HELD and self._stage is not _BODY:
                raise self._unexpected(kind)
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = copied_body(body)
            more = message.get("more_body", False)
            end = not more and not self._trailers
            if self._stage is _HELD:
                self._wire.send_head(self.head.stream, self.status, self._headers, body, end=end)
            else:
                self._wire.send_data(self.head.stream, body, end=end)
            self.sent += len(body)
            if end:
                self._stage = _DONE
                service = self._service
                service.stats.requests += 1
                if service.access is not None:
                    service.access.add(self)
                if self._changed is not None:  # somebody in receive() waits for the end
                    self._changed.set()
            else:
                self._stage = _BODY if more else _TRAILERS
                self._sends += 1
                if self._wire.congested or self._sends % SENDS_IN_A_ROW == 0:
                    await self._give_way()
        else:
            await self._send_rare(kind, message)

    async def _send_rare(self, kind: str, message: Message) -> None:
        if self._stage not in ALLOWED.get(kind, ()):
            raise self._unexpected(kind)
        stream = self.head.stream
        if kind == "http.response.early_hint":
            links = [(b"link", bytes(link)) for link in message["links"]]
            self._wire.inform(stream, 103, links)
        elif kind == "http.response.trailers":
            end = not message.get("more_trailers", False)
            self._wire.send_trailers(stream, message.get("headers", ()), end=end)
            if end:
                self._stage = _DONE
                self._response_over()
        elif kind == "http.response.pathsend":
            await self._send_file(open_path(message["path"]), more=False)
        else:
            source = open_descriptor(message["file"], message.get("offset"), message.get("count"))
            await self._send_file(source, more=message.get("more_body", False))

    async def _send_file(self, source: FileSource, *, more: bool) -> None:
        """Head first, then the file: by the kernel where the wire allows it, else in pieces.

        Where that fails or is cancelled the stage stays FILE, and the response ends in a cut: the
        missing bytes are counted as sent, and the next response would be read in their place.
        """
        with source:
            end = not more and not self._trailers
            if self._stage is _HELD:
                headers = list(self._headers)
                if end and not any(name.lower() == b"content-length" for name, _ in headers):
                    headers.append((b"content-length", b"%d" % source.size))
                self._wire.send_head(self.head.stream, self.status, headers, b"", end=False)
            self._stage = _FILE
            if self._wire.sending_file(self.head.stream, source.size):
                await self._send_by_kernel(source)
            elif self.head.method != "HEAD":  # or all of it would be read to be dropped
                for piece in source.pieces():
                    if self._stage is _GONE:
                        break
                    self._wire.send_data(self.head.stream, piece, end=False)
                    self.sent += len(piece)
                    await self._give_way()
            if self._stage is _GONE:
                raise ClientDisconnected("the client left while the file was sent")
            if end:
                self._wire.send_data(self.head.stream, b"", end=True)
                self._stage = _DONE
                self._response_over()
            else:
                self._stage = _BODY if more else _TRAILERS

    async def _send_by_kernel(self, source: FileSource) -> None:
        try:
            await self._peer.send_file(source)
        except (ConnectionError, TimeoutError) as error:
            # The socket says it once, to us: the transport may never hear that the peer has left.
            self._wire.reset(self.head.stream, 0)
            self.gone(str(error))
        else:
            self.sent += source.size

    async def run(self, app: App, scope: Scope) -> None:
        """Runs the application for this request, and completes or cuts what it left undone."""
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._give_up("was cancelled", None)  # by us, at the end of a drain
        except BaseException as error:  # a sys.exit() in a handler must not end the worker
            # A disconnect of another request's client must not leave this one without an answer.
            over = self._stage is _GONE or self._stage is _DONE
            if not over or not only_disconnects(error):
                self._give_up("raised", error)
        else:
            if self._stage is not _DONE and self._stage is not _GONE:
                self._give_up(f"returned, expected {self._stage.value}", None)
        finally:
            del self._service.running[self]

    def _give_up(self, what: str, error: BaseException | None) -> None:
        """The application will not complete the response: 500 where nothing of it is out yet."""
        head = self.head
        if error is not None or self._stage is not _GONE:
            log.error(
                "application %s method=%s path=%s",
                what,
                head.method,
                head.target.partition(b"?")[0].decode("ascii"),
                exc_info=error,
            )
        if self._stage is _START or self._stage is _HELD:
            body = b"Internal Server Error\n"
            self.status = 500
            self.sent = len(body)
            plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            try:
                self._wire.send_head(head.stream, 500, plain, body, end=True)
            except ResponseError:  # the wire has broken the response off already
                self._wire.reset(head.stream, 0)
            self._stage = _DONE
            self._response_over()
        elif self._stage is not _DONE and self._stage is not _GONE:
            self._stage = _GONE
            self._wire.reset(head.stream, 0)
            self._response_over()

    def _unexpected(self, kind: str) -> Exception:
        if self._stage is _GONE:
            return ClientDisconnected("the client has left")
        return ResponseError(f"{kind!r} was sent, expected {self._stage.value}")

    def _response_over(self) -> None:
        """Written whole, or never to be: send() does the same in place for most responses."""
        self._service.stats.requests += 1
        if self._service.access is not None:
            self._service.access.add(self)
        self._wake()

    async def _give_way(self) -> None:
        """Waits for room in the transport; without need for that, for one turn of the loop."""
        if not self._wire.congested:
            await asyncio.sleep(0)
        while self._wire.congested and self._stage is not _GONE:
            await self._until_changed()

    async def _until_changed(self) -> None:
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()


def copied_body(body: object) -> bytes:
    """A body that is no bytes, as it is now: the application may use its buffer again."""
    if not isinstance(body, bytes | bytearray | memoryview):
        raise ResponseError(f"body is {type(body).__name__}, expected bytes")
    return bytes(body)


def only_disconnects(error: BaseException) -> bool:
    """Task groups wrap what they pass on, so the disconnect may sit inside a group."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(ClientDisconnected)[1] is None
    return isinstance(error, ClientDisconnected)
