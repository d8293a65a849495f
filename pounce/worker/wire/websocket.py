"""The frames of one WebSocket: bytes in, whole messages up; messages in, bytes out.

Knows nothing of how the WebSocket was opened, of time, or of applications. wsproto reads what is
rare: control frames, fragments and all that is wrong. A data frame that is a whole message, which
nearly all are, takes a path of our own at a fifth of the cost; tests hold it against wsproto.

Source: RFC 6455 §5 to §8, RFC 7692 §7.2.
"""

from __future__ import annotations

from codecs import IncrementalDecoder, getincrementaldecoder
from enum import Enum
from typing import Final, NamedTuple, Protocol

from wsproto.frame_protocol import Frame, Opcode, ParseFailed

from pounce.worker.wire.close_codes import BAD_DATA, POLICY, TOO_BIG
from pounce.worker.wire.deflate import NO_LIMIT, Compression, InflateError
from pounce.worker.wire.frames import BINARY, MASKED, RSV1, SHORT, TEXT, FrameReader
from pounce.worker.wire.gather import Gathered
from pounce.worker.wire.masking import unmask
from pounce.worker.wire.websocket_output import WebSocketOutput

NOT_UTF8: Final = "text is not UTF-8"
Utf8Decoder: Final = getincrementaldecoder("utf-8")


class FrameLimits(NamedTuple):
    """How much is taken of a peer; the settings of the same names say more. 0: no limit.

    Attributes:
        max_message: bytes of one message, inflated. More is closed with 1009.
        max_frame: bytes of one frame on the wire. More is closed with 1009 on its header.
        max_fragments: frames of one message. More is closed with 1008: empty ones would come for
            ever without any other limit noticing.
    """

    max_message: int = 16 * 1024 * 1024
    max_frame: int = 16 * 1024 * 1024
    max_fragments: int = 1024


class MessageReceiver(Protocol):
    """Who gets what the peer sends. It may call back, but not receive()."""

    def text(self, text: str) -> None:
        """A whole text message."""

    def binary(self, data: bytes) -> None:
        """A whole binary message."""

    def ping(self, payload: bytes) -> None:
        """Answer it with pong()."""

    def pong(self, payload: bytes) -> None: ...

    def closed(self, code: int, reason: str) -> None:
        """The peer's Close; 1005 if it has no code. Nothing follows. Answer it with close()."""

    def failed(self, code: int, reason: str) -> None:
        """What the peer sent is wrong or too much. Nothing follows; say so with close()."""


class Step(Enum):
    """What the next byte from the peer is."""

    HEAD = "of a frame's head"
    OURS = "of a payload that is read here"
    WSPROTOS = "of a payload that wsproto reads"
    OVER = "dropped: the peer has closed, or failed"


_HEAD, _OURS, _WSPROTOS, _OVER = Step.HEAD, Step.OURS, Step.WSPROTOS, Step.OVER


class WebSocketFrames(WebSocketOutput):
    """One WebSocket, server side."""

    __slots__ = (
        "_data",
        "_decoder",
        "_fed",
        "_fragments",
        "_held",
        "_left",
        "_limits",
        "_mask",
        "_max_frame",
        "_max_message",
        "_openers",
        "_paused",
        "_quick",
        "_reader",
        "_receiver",
        "_short",
        "_size",
        "_step",
        "_texts",
    )

    def __init__(
        self,
        receiver: MessageReceiver,
        limits: FrameLimits,
        compression: Compression | None = None,
    ) -> None:
        super().__init__(compression)
        self._receiver = receiver
        self._limits = limits
        self._max_message = limits.max_message or NO_LIMIT
        self._max_frame = limits.max_frame or NO_LIMIT
        self._short = min(SHORT, self._max_message, self._max_frame)
        # First bytes of frames that are whole messages.
        self._openers = _PLAIN if compression is None else _PLAIN_AND_COMPRESSED
        self._reader: FrameReader | None = None
        self._step = _HEAD
        self._held = b""  # part of a head, or what came after a pause
        self._fed = 0  # bytes of `_held` that wsproto has read already
        self._left = 0  # payload bytes of the present frame to come
        self._mask = b""
        self._decoder: IncrementalDecoder | None = None
        self._texts: Gathered[str] | None = None  # a message that is not whole
        self._data: Gathered[bytes] | None = None
        self._fragments = 0  # of the present message; 0: between two messages
        self._size = 0  # of the present message, as announced by the heads
        self._paused = False
        self._quick = True  # the next byte is a head's first, of a message's first frame

    # What the peer sends.

    def receive(self, data: bytes) -> None:
        """Bytes from the peer. Never raises for what they are."""
        quick = self._quick
        if not quick:
            self._read(data)
            return
        at, end = 0, len(data)
        openers, short, receiver = self._openers, self._short, self._receiver
        while end - at > 5:
            first = data[at]
            size = data[at + 1] - MASKED
            stop = at + 6 + size
            if not 0 <= size <= short or stop > end or first not in openers:
                break
            payload = unmask(data[at + 6 : stop], data[at + 2 : at + 6])
            at = stop
            if first == TEXT:
                try:
                    text = payload.decode()
                except UnicodeDecodeError:
                    self._fail(BAD_DATA, NOT_UTF8)
                    return
                receiver.text(text)
            elif first == BINARY:
                receiver.binary(payload)
            else:
                self._deliver(first, payload)
            if not self._quick:
                break
        if at < end:
            self._read(data[at:] if at else data)

    def pause(self) -> None:
        """Hand no message up until resume(); what has come already is held."""
        self._paused = True
        self._quick = False

    def resume(self) -> None:
        """Hands up what was held."""
        self._paused = False
        self._read(b"")

    def idle(self) -> None:
        """Gives memory back that only a busy WebSocket needs. Best called when nothing comes."""
        if self._step is _HEAD and not self._fragments and not self._fed:
            self._release()
            if self._compression is not None:
                self._compression.idle()

    def discard(self) -> None:
        """Nothing follows, in neither direction: what was held is dropped."""
        self._end()

    @property
    def midway(self) -> bool:
        """Part of a frame has come, and the peer owes the rest."""
        if self._step is _OVER or self._paused:
            return False
        return self._step is not _HEAD or bool(self._held)

    @property
    def over(self) -> bool:
        """The peer has closed, or failed; nothing more of it is read."""
        return self._step is _OVER

    # All but whole short frames.

    def _read(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
            self._held = b""
        at, end = 0, len(data)
        self._quick = False
        while at < end and self._step is not _OVER and not self._paused:
            if self._step is _HEAD:
                begun = self._begin(data, at, end)
                if begun < 0:
                    break
                at = begun
            else:
                stop = min(end, at + self._left)
                self._left -= stop - at
                piece = data[at:stop]
                at = stop
                if self._step is _OURS:
                    self._gather(piece)
                elif self._feed(piece) and not self._left:
                    self._step = _HEAD
        if self._step is _OVER:
            return
        self._held = data[at:]
        self._quick = not (self._held or self._paused or self._fragments or self._step is not _HEAD)

    def _begin(self, data: bytes, at: int, end: int) -> int:
        """Reads the head at `at`; returns where to go on, or -1 if more of it is needed."""
        if end - at < 2:
            return -1
        first, second = data[at], data[at + 1]
        size = second & 0x7F
        start = at + 2
        if size > SHORT:
            start += 2 if size == 126 else 8
            if start <= end:
                size = int.from_bytes(data[at + 2 : start], "big")
        known = start <= end
        if second & MASKED:
            start += 4
        if not self._fed and self._is_ours(first, second, size, known, end - start):
            if start > end:
                return -1
            self._mask = data[start - 4 : start]
            if start + size <= end:
                self._deliver(first, unmask(data[start : start + size], self._mask))
                return start + size
            self._step, self._left = _OURS, size
            if first == TEXT:
                self._decoder = Utf8Decoder()
            return start
        if start > end or not known:
            fed, self._fed = self._fed, end - at
            return -1 if self._feed(data[at + fed :]) else end
        fed, self._fed = self._fed, 0
        head = data[at + fed : start]
        over = self._count(first, size)
        if over is not None:
            # Wrong comes before too much, but a frame without payload must not be handed up first.
            if self._feed(head[:-1] if second & MASKED else head):
                self._fail(*over)
        elif self._feed(head) and size:
            self._step, self._left = _WSPROTOS, size
        return start

    def _is_ours(self, first: int, second: int, size: int, known: bool, here: int) -> bool:
        """A frame that is a whole message, and nothing wrong about it as far as can be seen."""
        if self._fragments or first not in self._openers or not second & MASKED:
            return False
        if not known:
            return True
        if size > self._max_frame or size > self._max_message:
            return False
        extended = second & 0x7F
        if (extended == 126 and size <= SHORT) or (extended == 127 and size < 0x10000):
            return False  # RFC 6455 §5.2: the shortest form of the length must be used
        return first < TEXT | RSV1 or here >= size  # a compressed one only if it is here whole

    def _gather(self, piece: bytes) -> None:
        """A piece of a message in one frame: text is checked as it comes, to fail early."""
        piece = unmask(piece, self._mask)
        turn = len(piece) % 4
        if turn:
            self._mask = self._mask[turn:] + self._mask[:turn]
        if not self._left:
            self._step = _HEAD
        if self._decoder is None:
            self._add_data(piece, whole=not self._left)
            return
        try:
            text = self._decoder.decode(piece, not self._left)
        except UnicodeDecodeError:
            self._fail(BAD_DATA, NOT_UTF8)
            return
        self._add_text(text, whole=not self._left)

    def _add_text(self, part: str, *, whole: bool) -> None:
        texts = self._texts
        if texts is None:
            texts = self._texts = Gathered("")
        texts.add(part)
        if whole:
            self._texts = self._decoder = None
            self._fragments = 0
            self._receiver.text(texts.whole())

    def _add_data(self, part: bytes, *, whole: bool) -> None:
        data = self._data
        if data is None:
            data = self._data = Gathered(b"")
        data.add(part)
        if whole:
            self._data = None
            self._fragments = 0
            self._receiver.binary(data.whole())

    def _deliver(self, first: int, payload: bytes) -> None:
        """A whole message that came in one frame."""
        if first & RSV1:
            assert self._compression is not None  # or RSV1 would open nothing
            try:
                payload = self._compression.inflater.message(payload)
            except InflateError as error:
                self._fail(error.code, error.reason)
                return
        if first & ~RSV1 == BINARY:
            self._receiver.binary(payload)
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._fail(BAD_DATA, NOT_UTF8)
            return
        self._receiver.text(text)

    def _count(self, first: int, size: int) -> tuple[int, str] | None:
        """Counts a frame into its message; the code and reason to fail with when it is too much."""
        if first & 0x08:  # a control frame
            return None
        if not self._fragments:
            # Compressing adds to what cannot be compressed, an eighth and a bit by zlib's own
            # bound. How much it is once inflated is looked at there.
            self._size = -(self._max_message // 7 + 64) if first & RSV1 else 0
        self._fragments += 1
        self._size += size
        limits = self._limits
        if size > self._max_frame:
            return TOO_BIG, f"frame over {limits.max_frame} bytes"
        if self._size > self._max_message:
            return TOO_BIG, f"message over {limits.max_message} bytes"
        if self._fragments > limits.max_fragments > 0:
            return POLICY, f"message in more than {limits.max_fragments} frames"
        return None

    def _feed(self, data: bytes) -> bool:
        """Gives wsproto bytes of the present frame; False if nothing may follow."""
        reader = self._reader
        if reader is None:
            inflater = None if self._compression is None else self._compression.inflater
            reader = self._reader = FrameReader(inflater)
        reader.receive_bytes(data)
        try:
            for frame in reader.received_frames():
                self._take(frame)
        except ParseFailed as error:
            self._fail(int(error.code), reader.reason_of(error))
        return self._step is not _OVER

    def _take(self, frame: Frame) -> None:
        opcode, payload = frame.opcode, frame.payload
        if isinstance(payload, tuple):
            self._end()
            self._receiver.closed(int(payload[0]), payload[1])
        elif isinstance(payload, str):
            self._add_text(payload, whole=frame.message_finished)
        elif opcode is Opcode.PING:
            self._receiver.ping(payload)
        elif opcode is Opcode.PONG:
            self._receiver.pong(payload)
        else:
            self._add_data(payload, whole=frame.message_finished)

    def _fail(self, code: int, reason: str) -> None:
        self._end()
        self._receiver.failed(code, reason)

    def _end(self) -> None:
        self._step, self._quick = _OVER, False
        self._held, self._texts, self._data = b"", None, None
        self._release()

    def _release(self) -> None:
        if self._reader is not None:
            self._reader.release()
            self._reader = None


_PLAIN: Final = frozenset((TEXT, BINARY))
_PLAIN_AND_COMPRESSED: Final = _PLAIN | {TEXT | RSV1, BINARY | RSV1}
