"""The tunnel of one WebSocket: what comes through it, what holds it up, and how it ends.

The half of a WebSocketStream that looks at the wire; the one that looks at the application is in
websocket_stream.py. Knows neither Upgrade nor HTTP/2, and no socket.

Source: RFC 6455 §5.5 and §7.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pounce.asgi import Headers
from pounce.worker.inbox import Inbox
from pounce.worker.websocket_deadlines import ENDS, Deadlines, Verdict
from pounce.worker.websocket_rules import WebSocketRules
from pounce.worker.websocket_stages import Stage
from pounce.worker.wire import RequestHead, ResponseError, Wire
from pounce.worker.wire.close_codes import LOST
from pounce.worker.wire.deflate import Compression
from pounce.worker.wire.handshake import Asked
from pounce.worker.wire.websocket import WebSocketFrames

log = logging.getLogger("pounce")

_CONNECTING, _HELD, _DENYING, _OPEN = Stage.CONNECTING, Stage.HELD, Stage.DENYING, Stage.OPEN
_GONE = Stage.GONE


class WebSocketTunnel:
    """The `Receiver` of one tunnel, and the `MessageReceiver` of the frames in it.

    Args:
        asked: what check_request() of the handshake made of `head`.
        over: called once, when nothing of this WebSocket is left on the wire.
        now, until: when it is asked for, and when its lifetime is over, 0 for never; on the clock
            of sweep().

    Attributes:
        client, begun: who asked and when, as access_log.Response.
        status: of the HTTP answer: 101 once accepted, whatever the wire makes of it; 0 before that.
        code, reason: how it ended; 1006 for a peer that went without a word. 0 while it goes on.
        received, sent: bytes of the tunnel.
        messages_received, messages_sent: text and binary ones.
        compression: as it was agreed; None before the handshake is done, and without any.
    """

    __slots__ = (
        "_asked",
        "_choked",
        "_closing",
        "_connected",
        "_deadlines",
        "_denial",
        "_farewell",
        "_frames",
        "_inbox",
        "_is_over",
        "_lost",
        "_over",
        "_owed",
        "_paused",
        "_room",
        "_rules",
        "_stage",
        "_stream",
        "_wire",
        "begun",
        "client",
        "code",
        "compression",
        "head",
        "messages_received",
        "messages_sent",
        "reason",
        "received",
        "sent",
        "status",
    )

    def __init__(
        self,
        wire: Wire,
        head: RequestHead,
        asked: Asked,
        *,
        rules: WebSocketRules,
        over: Callable[[WebSocketTunnel], None],
        now: float = 0.0,
        until: float = 0.0,
    ) -> None:
        self._wire = wire
        self._stream = head.stream
        self._asked = asked
        self._rules = rules
        self._over = over
        self._is_over = False
        self._stage = _CONNECTING
        self._connected = False  # the application was told of websocket.connect
        self._denial: tuple[int, Headers] = 0, ()  # held until its body begins
        self._frames: WebSocketFrames | None = None
        self._inbox = Inbox(rules.queue)
        self._deadlines = Deadlines(rules.timeouts, now, until)
        self._farewell: tuple[int, str] | None = None  # to be said at the next pause
        self._paused = False  # nothing is handed up by the frames: the inbox is full, or
        self._choked = False  # the peer does not take our pongs
        self._lost = False  # the peer is gone, and what it sent before is not all handed up
        self._owed = 0  # bytes the wire gave and was not told to be consumed
        self._room: asyncio.Event | None = None
        # Our Close is out and the peer's is not in, or ours waits for the application.
        self._closing: asyncio.TimerHandle | None = None
        self.head = head
        self.begun = 0.0
        self.client = "-"
        self.status = 0
        self.code = 0
        self.reason = ""
        self.received = 0
        self.sent = 0
        self.messages_received = 0
        self.messages_sent = 0
        self.compression: Compression | None = None

    # What the wire calls.

    def data(self, data: bytes) -> None:
        size = len(data)
        self.received += size
        if self._frames is not None:
            self._frames.receive(data)
        if self._paused or self._is_over:
            self._owed += size
        else:
            self._wire.consumed(self._stream, size)

    def end(self) -> None:
        """The peer's half is closed: on a WebSocket that is as good as gone."""
        if self._closing is not None and self._farewell is not None:
            self.close(*self._farewell)  # it broke the rules, and may wait to hear so
        if not self._is_over:
            if self._frames is None:
                self._wire.reset(self._stream, 0)
            else:
                self._wire.send_data(self._stream, b"", end=True)
            self.gone("the peer closed its half")

    def half_closed(self) -> None:
        self.end()

    def gone(self, reason: str, status: int = 0) -> None:
        """The transport is lost; whoever has closed already keeps that code.

        What had come before is the application's still, as it asks for it.
        """
        self.status = status or self.status
        if self._stage in (_CONNECTING, _HELD, _DENYING, _OPEN):
            self._lost = self._stage is _OPEN and self._paused
            self._choked = False
            self._stage, self.code = _GONE, LOST
            self._inbox.wake()
        self._finish()
        if self._lost:
            self._read_on()

    def resumed(self) -> None:
        if self._room is not None:
            self._room.set()
        if self._choked:
            self._choked = False
            self._read_on()

    # What the frames call.

    def text(self, text: str) -> None:
        if self._stage is _OPEN or self._lost:
            self.messages_received += 1
            if self._inbox.put({"type": "websocket.receive", "text": text}, len(text)):
                self._pause()

    def binary(self, data: bytes) -> None:
        if self._stage is _OPEN or self._lost:
            self.messages_received += 1
            if self._inbox.put({"type": "websocket.receive", "bytes": data}, len(data)):
                self._pause()

    def ping(self, payload: bytes) -> None:
        assert self._frames is not None
        pong = b"" if self._is_over else self._frames.pong(payload)
        if pong:
            self._write(pong)
            if self._wire.congested:  # who pings and does not read must not fill our memory
                self._choked = True
                self._pause()

    def pong(self, payload: bytes) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        """The peer's Close: the answer to ours, or to be answered."""
        frames = self._frames
        assert frames is not None
        if self._stage is _OPEN or self._lost:
            self._leave(code, reason)
        answer = b"" if frames.closing else frames.close(code, reason)
        self._write(answer, end=True)
        self._finish()

    def failed(self, code: int, reason: str) -> None:
        """The peer broke the rules, and is told which once what it said before is answered.

        Otherwise that answer would depend on where TCP cut the peer's bytes. An application that
        does not ask for more is waited for as long as a peer that does not answer a Close.
        """
        assert self._frames is not None
        if self._stage is not _OPEN:
            self._write(b"" if self._frames.closing else self._frames.close(code, reason), end=True)
            self._finish()
            return
        log.debug("websocket failed code=%d reason=%s", code, reason)
        if self._rests:
            self.close(code, reason)
            return
        self._farewell = code, reason
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(self._rules.close_timeout, self.close, code, reason)

    # What the worker calls.

    def close(self, code: int, reason: str) -> None:
        """The server's own end of it: a drain, or a peer that does not answer."""
        if self._stage is _OPEN:
            self._say_close(_GONE, code, reason)
            self._inbox.wake()
            self._read_on()

    def cut(self, reason: str) -> None:
        """Ends it without a word."""
        self._wire.reset(self._stream, 0)
        self.gone(reason)

    def dismiss(self, code: int, reason: str) -> None:
        """Like close(), but first lets the application finish with the message it is at.

        A handshake that is not finished is answered 503.
        """
        if self._stage is _OPEN and not self._rests:
            self._farewell = self._farewell or (code, reason)
        elif self._stage is _OPEN:
            self.close(code, reason)
        elif self._stage is _CONNECTING or self._stage is _HELD:
            self._turn_away()

    @property
    def unread(self) -> bool:
        """The peer is gone, but not all that it sent before, perhaps a Close, was handed up."""
        return self._lost

    @property
    def alive_at(self) -> float:
        """When the last sweep before it paused was, or its last."""
        return self._deadlines.alive_at

    @property
    def _rests(self) -> bool:
        """The application has answered what has come, as far as can be told."""
        return self._inbox.awaited or not self.messages_received

    def sweep(self, now: float, stalled: float = 0.0) -> None:
        """Looks after its deadlines.

        Args:
            now, stalled: seconds in which the worker itself was running; and in which it was not.
        """
        if self._stage is _OPEN:
            assert self._frames is not None
            verdict = self._deadlines.look(
                now,
                received=self.received,
                messages=self.messages_received,
                said=self.messages_sent,
                midway=self._frames.midway,
                deaf=self._paused,
                unread=self._wire.congested,
                stalled=stalled,
            )
            if verdict is not Verdict.NOTHING:
                self._execute(verdict)
        elif self._stage is _CONNECTING or self._stage is _HELD:
            limit = self._rules.timeouts.handshake
            if limit and now - self._deadlines.alive_at >= limit:
                log.warning(
                    "application neither accepted nor denied a websocket in time path=%s",
                    self.head.target.partition(b"?")[0].decode("ascii"),
                )
                self._turn_away()

    def _execute(self, verdict: Verdict) -> None:
        assert self._frames is not None
        if verdict is Verdict.REST:
            self._frames.idle()
        elif verdict is Verdict.PING:
            self._write(self._frames.ping())
        else:
            log.debug("websocket closed by us verdict=%s", verdict.value)
            self.close(*ENDS[verdict])

    def _turn_away(self) -> None:
        """Answers a handshake that nobody has answered."""
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        self.status = 503
        try:
            self._wire.send_head(self._stream, 503, headers, b"Service Unavailable\n", end=True)
        except ResponseError:  # the wire has given the peer up already
            self._wire.reset(self._stream, 0)
        self._leave(LOST, "")
        self._finish()

    def _say_close(self, stage: Stage, code: int, reason: str) -> None:
        """Our Close, and the stage that it leads to."""
        assert self._frames is not None
        frame = self._frames.close(code, reason)  # first: it raises for what may not be said
        self._stage, self.code, self.reason = stage, code, frame[4:].decode()  # what fitted in
        deaf = self._frames.over
        self._write(frame, end=deaf)
        if deaf:
            self._finish()
            return
        if self._closing is not None:
            self._closing.cancel()
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(self._rules.close_timeout, self._cut)

    def _cut(self) -> None:
        """The peer did not answer our Close in time."""
        self._closing = None
        self._wire.reset(self._stream, 0)
        self._finish()

    def _leave(self, code: int, reason: str) -> None:
        """Nothing reaches the peer any more; what it sent before is still the application's."""
        self._stage, self.code, self.reason = _GONE, code, reason
        self._inbox.wake()
        self._read_on()

    def _finish(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._room is not None:
            self._room.set()
        if not self._is_over:
            self._is_over = True
            self._over(self)
        if not self._lost:
            self._let_go()

    def _let_go(self) -> None:
        """Breaks the circle with the frames, which would wait for the garbage collector."""
        if self._is_over and self._frames is not None:
            self._frames.discard()
            self._frames = None
            if self.compression is not None:
                self.compression.discard()

    def _write(self, data: bytes, *, end: bool = False) -> None:
        if not self._is_over:
            self.sent += len(data)
            self._wire.send_data(self._stream, data, end=end)

    def _pause(self) -> None:
        assert self._frames is not None
        self._paused = True
        self._frames.pause()

    def _read_on(self) -> None:
        """Goes on with what was held, where nothing speaks against it any more.

        A message that comes when the WebSocket is no longer open is dropped: an inbox that is full
        then must not hide the peer's Close.
        """
        wanted = self._stage is _OPEN or self._lost
        if self._frames is None or self._choked or (self._inbox.full and wanted):
            return
        if self._paused:
            self._paused = False
            self._frames.resume()
        if not self._paused:
            self._consume()
            if self._lost:
                self._lost = False
                self._let_go()

    def _consume(self) -> None:
        if self._owed and not self._is_over:
            owed, self._owed = self._owed, 0
            self._wire.consumed(self._stream, owed)
