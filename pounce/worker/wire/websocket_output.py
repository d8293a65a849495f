"""The writing half of a WebSocket: messages and control frames as bytes.

A message always leaves as one frame, which depends on none before it but for compression.

Source: RFC 6455 §5 and §7.1, RFC 7692 §7.2.1.
"""

from __future__ import annotations

from pounce.worker.wire import ResponseError
from pounce.worker.wire.close_codes import NO_CODE, NORMAL, may_be_sent
from pounce.worker.wire.deflate import Compression
from pounce.worker.wire.frames import BINARY, RSV1, TEXT, control, data_frame


class WebSocketOutput:
    """The writing half; WebSocketFrames in websocket.py is the whole.

    Attributes:
        closing: our Close was made; nothing may be sent any more.
    """

    __slots__ = ("_compression", "closing")

    def __init__(self, compression: Compression | None) -> None:
        self._compression = compression
        self.closing = False

    def send_text(self, text: str) -> bytes:
        """The bytes of a text message.

        Raises:
            ResponseError: not a str, with a lone surrogate, or after close().
        """
        try:
            payload = text.encode()
        except UnicodeEncodeError:
            raise ResponseError("text holds a lone surrogate, which has no UTF-8") from None
        except AttributeError:
            raise ResponseError(f"text is {type(text).__name__}, expected str") from None
        if self._compression is None and not self.closing:
            return data_frame(TEXT, payload)
        return self._message(TEXT, payload)

    def send_binary(self, data: bytes) -> bytes:
        """The bytes of a binary message.

        Raises:
            ResponseError: not bytes, or after close().
        """
        if type(data) is not bytes:
            data = _copied(data)
        if self._compression is None and not self.closing:
            return data_frame(BINARY, data)
        return self._message(BINARY, data)

    def bulk_head(self, size: int) -> bytes:
        """The head of a binary message of 64 KiB or more, which then has to follow as it is.

        b"" where that is not possible; send_binary() does it, or says why not.
        """
        if self._compression is not None or self.closing:
            return b""
        return b"%c\x7f%b" % (BINARY, size.to_bytes(8, "big"))

    def ping(self, payload: bytes = b"") -> bytes:
        """The bytes of a ping of up to 125 bytes; none after close()."""
        return b"" if self.closing else bytes(control.ping(payload))

    def pong(self, payload: bytes = b"") -> bytes:
        """The bytes of a pong; none after close() (RFC 6455 §5.5.1)."""
        return b"" if self.closing else bytes(control.pong(payload))

    def close(self, code: int = NORMAL, reason: str = "") -> bytes:
        """The bytes of our Close.

        Args:
            code: 1005 sends none, to answer a Close that had none.
            reason: cut to 123 bytes of UTF-8.

        Raises:
            ResponseError: a code that may not be sent, or after another close().
        """
        if self.closing:
            raise ResponseError("the WebSocket is closed already")
        if code == NO_CODE:
            frame = control.close()
        else:
            if not isinstance(code, int) or not may_be_sent(code):
                raise ResponseError(f"close code {code!r} may not be sent (RFC 6455 section 7.4)")
            try:
                frame = control.close(code, reason)
            except UnicodeEncodeError:
                raise ResponseError("reason holds a lone surrogate, which has no UTF-8") from None
        self.closing = True
        return bytes(frame)

    def _message(self, first: int, payload: bytes) -> bytes:
        if self.closing:
            raise ResponseError("a message was sent after the WebSocket was closed")
        compression = self._compression
        if compression is None or len(payload) < compression.smallest:
            return data_frame(first, payload)
        return data_frame(first | RSV1, compression.deflater.message(payload))


def _copied(data: object) -> bytes:
    """Bytes as they are now: the application may use its buffer again."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ResponseError(f"bytes is {type(data).__name__}, expected bytes")
    return bytes(data)
