"""Single WebSocket frames as bytes, and wsproto set up to read those that websocket.py does not.

Knows what one frame looks like, and nothing of the order of frames.

Source: RFC 6455 §5.2 and §5.5.
"""

from __future__ import annotations

from typing import Final

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import (
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    ParseFailed,
    RsvBits,
)

from pounce.worker.wire.close_codes import BAD_DATA
from pounce.worker.wire.deflate import InflateError, Inflater

# The first byte: FIN and the opcode; with RSV1 the message is compressed (RFC 7692 §6).
TEXT: Final = 0x81
BINARY: Final = 0x82
RSV1: Final = 0x40

MASKED: Final = 0x80  # of the second byte
SHORT: Final = 125  # the longest payload whose length fits into the second byte

_SHORT_HEADS: Final = {
    first: [bytes((first, size)) for size in range(SHORT + 1)]
    for first in (TEXT, BINARY, TEXT | RSV1, BINARY | RSV1)
}
_TEXT_HEADS: Final = _SHORT_HEADS[TEXT]

# Control frames out: rare, and a frame depends on none before it, so one writer serves all.
control: Final = FrameProtocol(client=False, extensions=[])


def data_frame(first: int, payload: bytes) -> bytes:
    """A message in one frame; `first` is its first byte."""
    size = len(payload)
    if size <= SHORT:
        return _SHORT_HEADS[first][size] + payload
    if size < 0x10000:
        return b"%c\x7e%b%b" % (first, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (first, size.to_bytes(8, "big"), payload)


class BoundedDeflate(PerMessageDeflate):
    """permessage-deflate for wsproto's reader, on an inflater that knows its limits.

    Two things of wsproto's own would break: it inflates without bound, and a ping among the
    fragments of a compressed message makes it take the rest for uncompressed.

    Attributes:
        reason: of the error that was returned last.
    """

    def __init__(self, inflater: Inflater) -> None:
        super().__init__()
        self._inflater = inflater
        self._enabled = True
        self._open = False  # a message has begun and is not complete
        self._message = False  # it is compressed
        self._control = False  # the present frame is none of its frames
        self._frame = False  # the present frame is to be inflated
        self.reason = ""

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        # Called again with the same head until all of it is there.
        begins = opcode in (Opcode.TEXT, Opcode.BINARY)
        if rsv.rsv1 and not begins:  # RFC 7692 §6: only the first frame of a message is marked
            self.reason = "RSV1 on a frame that begins no message"
            return CloseReason.PROTOCOL_ERROR
        self._control = opcode.iscontrol()
        if begins:
            self._message = rsv.rsv1
        # A message inside a message is wsproto's to refuse, whatever its payload is.
        self._frame = self._message and not self._control and not (begins and self._open)
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        if not self._frame or not data:
            return data
        try:
            return self._inflater.feed(data)
        except InflateError as error:
            return self._failed(error)

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        if self._control:
            return None
        self._open = not fin
        if not fin or not self._frame:
            return None
        self._message = False
        try:
            return self._inflater.end()
        except InflateError as error:
            return self._failed(error)

    def _failed(self, error: InflateError) -> CloseReason:
        self.reason = error.reason
        return CloseReason(error.code)


class FrameReader(FrameProtocol):
    """wsproto's reader of a client's frames. Between two messages a new one may take its place."""

    def __init__(self, inflater: Inflater | None) -> None:
        self._deflate = BoundedDeflate(inflater) if inflater is not None else None
        super().__init__(client=False, extensions=[self._deflate] if self._deflate else [])

    def release(self) -> None:
        """Breaks a circle inside that would keep this reader until garbage is collected."""
        self._parse_more.close()

    def reason_of(self, error: ParseFailed) -> str:
        """What to tell the peer: the same however its bytes were cut into pieces."""
        if self._deflate is not None and self._deflate.reason:
            return self._deflate.reason
        if error.code == BAD_DATA:
            return "text is not UTF-8"
        return str(error)
