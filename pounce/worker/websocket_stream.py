"""One WebSocket as ASGI: what the wire says becomes messages, and messages become calls down.

Knows neither Upgrade nor HTTP/2, and no socket: it is handed a tunnel that somebody asked for. The
frames in that tunnel are wire/websocket.py's.

Source: ASGI 3.0, HTTP & WebSocket specification 2.5; RFC 6455 §7 (closing).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from pounce.asgi import App, Message, Scope
from pounce.worker.http_stream import (
    SENDS_IN_A_ROW,
    ClientDisconnected,
    copied_body,
    only_disconnects,
)
from pounce.worker.websocket_stages import ALLOWED, Stage
from pounce.worker.websocket_tunnel import WebSocketTunnel
from pounce.worker.wire import ResponseError
from pounce.worker.wire.close_codes import GOING_AWAY, INTERNAL_ERROR, LOST, NO_CODE, NORMAL
from pounce.worker.wire.deflate import Compression
from pounce.worker.wire.handshake import accept_fields
from pounce.worker.wire.websocket import WebSocketFrames

# A binary message this long is not joined with its head, which would copy it: two writes cost less.
BULK: Final = 256 * 1024  # bytes

log = logging.getLogger("pounce")

_CONNECTING, _HELD, _DENYING, _DENIED = Stage.CONNECTING, Stage.HELD, Stage.DENYING, Stage.DENIED
_OPEN, _CLOSED, _GONE = Stage.OPEN, Stage.CLOSED, Stage.GONE


class WebSocketStream(WebSocketTunnel):
    """One WebSocket: the application's receive() and send() on a tunnel."""

    __slots__ = ()

    # What the application calls.

    async def receive(self) -> Message:
        """``websocket.connect``, each message, then ``websocket.disconnect`` for ever."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        inbox = self._inbox
        while (message := inbox.take()) is None:
            if self.code:
                return {"type": "websocket.disconnect", "code": self.code, "reason": self.reason}
            if self._farewell is not None:
                self.close(*self._farewell)
                continue
            await inbox.wait()
        if self._paused and not inbox.full:
            self._read_on()
        return message

    async def send(self, message: Message) -> None:
        """Takes one message.

        Raises:
            ClientDisconnected: the peer has left, or the server has closed the WebSocket.
            ResponseError: the message cannot come now, or not like this. Nothing of it is written.
        """
        kind = message["type"]
        if kind == "websocket.send" and self._stage is _OPEN:
            assert self._frames is not None
            data = message.get("bytes")
            if data is not None:
                head = b""
                if type(data) is bytes and len(data) > BULK:
                    head = self._frames.bulk_head(len(data))
                if head:
                    self.sent += len(head)
                    self._wire.send_data(self._stream, head, end=False)
                    frame = data
                else:
                    frame = self._frames.send_binary(data)
            else:
                text = message.get("text")
                if text is None:
                    raise ResponseError("websocket.send has neither bytes nor text")
                frame = self._frames.send_text(text)
            self.sent += len(frame)
            self.messages_sent += 1
            self._wire.send_data(self._stream, frame, end=False)
            if self._wire.congested or self.messages_sent % SENDS_IN_A_ROW == 0:
                await self._give_way()
            return
        if self._stage not in ALLOWED.get(kind, ()):
            raise self._unexpected(kind)
        match kind:
            case "websocket.accept":
                self._accept(message)
            case "websocket.close" if self._stage is _OPEN:
                code = message.get("code")
                if code == NO_CODE:  # the frames take it for a Close without a code
                    raise ResponseError(f"close code {code} may not be sent (RFC 6455 section 7.4)")
                self._close(NORMAL if code is None else code, message.get("reason") or "")
            case "websocket.close":
                self._answer(403, b"Forbidden\n")
            case "websocket.http.response.start":
                self._denial = message["status"], list(message.get("headers", ()))
                self._stage = _HELD
            case _:
                body = copied_body(message.get("body", b""))
                self._deny(body, more=message.get("more_body", False))
                if self._wire.congested:
                    await self._give_way()

    async def run(self, app: App, scope: Scope) -> None:
        """Runs the application for this WebSocket, and ends what it left open."""
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._give_up("was cancelled", None, 503, GOING_AWAY)  # by us, at the end of a drain
        except BaseException as error:  # a sys.exit() in a handler must not end the worker
            ended = self._stage in (_GONE, _CLOSED, _DENIED)
            if not ended or not only_disconnects(error):
                self._give_up("raised", error, 500, INTERNAL_ERROR)
        else:
            if self._stage is _OPEN:
                self._close(NORMAL, "")
            elif self._stage not in (_GONE, _CLOSED, _DENIED):
                self._give_up(f"returned, expected {self._stage.value}", None, 500, INTERNAL_ERROR)
        finally:
            self._lost = False  # nobody asks for the rest
            self._let_go()

    def _give_up(self, what: str, error: BaseException | None, status: int, code: int) -> None:
        """The application will not go on: an answer where none was given, else a Close."""
        stage = self._stage
        if error is not None or stage not in (_GONE, _CLOSED, _DENIED):
            log.error(
                "application %s websocket path=%s",
                what,
                self.head.target.partition(b"?")[0].decode("ascii"),
                exc_info=error,
            )
        if stage is _OPEN:
            self._close(code, "")
        elif stage is _CONNECTING or stage is _HELD:
            body = b"Internal Server Error\n" if status == 500 else b"Service Unavailable\n"
            self._answer(status, body)
        elif stage is _DENYING:
            self._wire.reset(self._stream, 0)
            self._leave(LOST, "")
            self._finish()

    def _accept(self, message: Message) -> None:
        fields = accept_fields(self._asked, message.get("subprotocol"), message.get("headers", ()))
        rules, agreed = self._rules, self._asked.deflate
        compression = None
        if agreed is not None:
            compression = Compression(
                agreed,
                max_message=rules.limits.max_message,
                level=rules.level,
                smallest=rules.smallest,
            )
        self.compression = compression
        self._frames = WebSocketFrames(self, rules.limits, compression)
        try:
            # What the client sent behind its request may come from within.
            self._stage, self.status = _OPEN, 101
            self._wire.accept_tunnel(self._stream, fields)
        except ResponseError:
            self._stage, self.status, self._frames = _CONNECTING, 0, None
            self.compression = None
            raise

    def _close(self, code: int, reason: str) -> None:
        """The application is done."""
        self._say_close(_CLOSED, code, reason)
        self._inbox.clear()
        self._inbox.wake()
        self._read_on()

    def _answer(self, status: int, body: bytes) -> None:
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        try:
            self._wire.send_head(self._stream, status, headers, body, end=True)
        except ResponseError:  # the wire has given the peer up already
            self._wire.reset(self._stream, 0)
        self.status = status
        self._denied()

    def _deny(self, body: bytes, *, more: bool) -> None:
        """The application's own answer in place of a WebSocket."""
        if self._stage is _HELD:
            status, headers = self._denial
            self._wire.send_head(self._stream, status, headers, body, end=not more)
            self.status = status
        else:
            self._wire.send_data(self._stream, body, end=not more)
        self._stage = _DENYING
        if not more:
            self._denied()

    def _denied(self) -> None:
        self._stage, self.code = _DENIED, LOST
        self._inbox.wake()
        self._finish()

    def _unexpected(self, kind: str) -> Exception:
        if self._stage is _GONE:
            return ClientDisconnected("the client has left")
        return ResponseError(f"{kind!r} was sent, expected {self._stage.value}")

    async def _give_way(self) -> None:
        """Waits for room in the transport; without need for that, for one turn of the loop."""
        if not self._wire.congested:
            await asyncio.sleep(0)
        while self._wire.congested and self._stage is not _GONE and not self._is_over:
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()
