"""Compresses and inflates the messages of one WebSocket, within bounds and with memory given back.

Knows no frames: it is handed the payload of messages, and what was agreed about windows.

Source: RFC 7692 §7.2.
"""

from __future__ import annotations

import zlib
from typing import Final

from pounce.worker.wire.close_codes import BAD_DATA, TOO_BIG
from pounce.worker.wire.extensions import Agreed
from pounce.worker.wire.gather import Gathered

# What every compressed message ends in and what is left out on the wire (RFC 7692 §7.2.1).
TAIL: Final = b"\x00\x00\xff\xff"
# The empty message (RFC 7692 §7.2.3.6): zlib would flush nothing for it the second time.
EMPTY: Final = b"\x00"
# A message is inflated in steps of this or of its compressed size: past the limit no more than one
# step too many was made, and nothing was joined yet.
STEP: Final = 64 * 1024
# A block that calls itself the last (BFINAL, RFC 7692 §7.2.3.5) costs us a new inflater. Who
# compresses so has one of them in a message; 2 bytes each, a frame could hold millions.
FINAL_BLOCKS_LIMIT: Final = 16  # in one message
# A message that has grown past so many bytes, and to so many times of what came, may be a bomb: the
# rest of it is inflated without keeping anything at first, to see whether it ends within its limit.
# 64 MiB in 64 KiB cost a third of a MiB so, and not the limit. JSON and HTML shrink to a fifth or a
# tenth, and are not inflated twice.
DOUBT: Final = 256 * 1024  # bytes
DOUBT_RATIO: Final = 32
NO_LIMIT: Final = 1 << 63  # more than a frame can announce


class InflateError(Exception):
    """A message that cannot be inflated.

    Attributes:
        code: to close with: BAD_DATA or TOO_BIG.
        reason: to close with.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Inflater:
    """What the peer compressed, as it was before.

    zlib's own state, some 40 KiB with a full window, is there only while messages come: between two
    messages nothing of it matters but the last bytes it made, and those are kept here as well. It
    stays from the second message on: who rests says one thing now and then, and when thousands do
    so at about the same time, what each left behind until idle() would be a heap full of holes.

    Attributes:
        plain, packed: bytes of all messages so far, inflated and as they came.
    """

    __slots__ = (
        "_doubted",
        "_final_blocks",
        "_inflate",
        "_keeps",
        "_limit",
        "_scout",
        "_size",
        "_taken",
        "_takeover",
        "_window",
        "_wsize",
        "packed",
        "plain",
    )

    def __init__(self, *, bits: int, takeover: bool, limit: int = 0) -> None:
        """Args: limit: of bytes in one message; 0: none."""
        self._wsize = 1 << max(bits, 9)  # a larger window reads what a smaller one wrote
        self._takeover = takeover
        self._limit = limit or NO_LIMIT
        self._inflate: zlib._Decompress | None = None
        self._keeps = False  # it after the present message
        self._window: bytearray | None = None  # the end of what was inflated, of 2 windows at most
        self._size = 0  # of the present message, so far
        self._taken = 0  # bytes that it was made of, where it comes in parts
        self._final_blocks = 0
        self._scout: Inflater | None = None  # goes ahead, where a message is doubted,
        self._doubted: Gathered[bytes] | None = None  # through what this one has not inflated yet
        self.plain = 0
        self.packed = 0

    def message(self, data: bytes) -> bytes:
        """A whole message at once."""
        self.packed += len(data)
        out = self._run(data + TAIL, last=True)
        self._message_done()
        return out

    def feed(self, data: bytes) -> bytes:
        """A part of a message; what of it can be known so far.

        Raises:
            InflateError: no deflate data, or over the limit. There is no going on after it.
        """
        self.packed += len(data)
        self._taken += len(data)
        scout, doubted = self._scout, self._doubted
        if scout is None or doubted is None:
            return self._run(data, last=False)
        scout._run(data, last=False, keep=False)
        doubted.add(data)
        if scout._size > DOUBT_RATIO * self._taken:
            return b""
        self._scout = self._doubted = None
        return self._run(doubted.whole(), last=False, doubt=False)

    def end(self) -> bytes:
        """The message is complete; what was still to come of it."""
        scout, doubted = self._scout, self._doubted
        if scout is None or doubted is None:
            out = self._run(TAIL, last=True)
        else:
            scout._run(TAIL, last=True, keep=False)
            self._scout = self._doubted = None
            out = self._run(doubted.whole() + TAIL, last=True, doubt=False)
        self._message_done()
        return out

    def idle(self) -> None:
        """Gives memory back. Only between two messages."""
        self._inflate = None
        self._keeps = False
        window = self._window
        if window is not None:
            self._window = bytearray(window[-self._wsize :])

    def discard(self) -> None:
        """Gives back all but the counts. Nothing may follow."""
        self._inflate = self._window = self._scout = self._doubted = None

    def _run(self, data: bytes, *, last: bool, keep: bool = True, doubt: bool = True) -> bytes:
        size = len(data)
        step = max(STEP, size)
        pieces: list[bytes] = []
        try:
            while True:
                inflate = self._inflate
                if inflate is None:
                    if last and data == TAIL and self._final_blocks:
                        break  # the final block was the end, and has no tail
                    inflate = self._new()
                room = min(step, self._limit - self._size + 1)
                out = inflate.decompress(data, room)
                self._size += len(out)
                if self._size > self._limit:
                    raise InflateError(TOO_BIG, f"message over {self._limit} bytes")
                if out:
                    if self._takeover:
                        self._keep(out)
                    if keep:
                        pieces.append(out)
                if inflate.eof:
                    self._count_final_block()
                    data = inflate.unused_data
                    if not data:
                        break
                    continue
                data = inflate.unconsumed_tail
                if not data and (last or self._size <= DOUBT):
                    break  # what zlib still holds back comes before what the tail brings
                if doubt and keep and self._is_doubtful((self._taken or size) - len(data)):
                    scout = self._new_scout()
                    scout._run(data, last=last, keep=False)
                    if not last:
                        self._scout, self._doubted = scout, Gathered(b"")
                        self._doubted.add(data)
                        break
                    doubt = False
                if not data:
                    break
        except zlib.error as error:
            raise InflateError(BAD_DATA, "compressed data is corrupt") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _is_doubtful(self, taken: int) -> bool:
        """The present message, after so many bytes of it, may be a bomb."""
        return self._size > max(DOUBT, DOUBT_RATIO * taken) and self._limit != NO_LIMIT

    def _new_scout(self) -> Inflater:
        """One that is where this is."""
        bits = self._wsize.bit_length() - 1
        scout = Inflater(bits=bits, takeover=self._takeover, limit=self._limit)
        if self._inflate is not None:
            scout._inflate = self._inflate.copy()
        if self._window is not None:
            scout._window = bytearray(self._window)
        scout._size = self._size
        scout._final_blocks = self._final_blocks
        return scout

    def _new(self) -> zlib._Decompress:
        bits = self._wsize.bit_length() - 1
        if self._window:
            window = bytes(self._window[-self._wsize :])
            self._inflate = zlib.decompressobj(-bits, zdict=window)
        else:
            self._inflate = zlib.decompressobj(-bits)
        return self._inflate

    def _keep(self, out: bytes) -> None:
        window = self._window
        if window is None:
            window = self._window = bytearray()
        window += out[-self._wsize :]
        if len(window) > 2 * self._wsize:
            del window[: -self._wsize]

    def _count_final_block(self) -> None:
        self._inflate = None
        self._final_blocks += 1
        if self._final_blocks > FINAL_BLOCKS_LIMIT:
            raise InflateError(BAD_DATA, "too many final blocks in one message")

    def _message_done(self) -> None:
        self.plain += self._size
        self._size = self._taken = self._final_blocks = 0
        if not self._keeps:
            self._inflate = None
            self._keeps = self._takeover


class Deflater:
    """Compresses messages for the peer. Its zlib state comes and goes as an Inflater's does.

    Attributes:
        plain, packed: bytes of all messages so far, before and after.
    """

    __slots__ = ("_bits", "_deflate", "_keeps", "_level", "_takeover", "packed", "plain")

    def __init__(self, *, bits: int, takeover: bool, level: int = -1) -> None:
        """Args: level: 0 to 9, or -1 for zlib's own middle."""
        self._bits = bits
        self._takeover = takeover
        self._level = level
        self._deflate: zlib._Compress | None = None
        self._keeps = False
        self.plain = 0
        self.packed = 0

    def message(self, data: bytes) -> bytes:
        """A whole message, without the tail that the peer adds again."""
        if not data:
            return EMPTY
        deflate = self._deflate
        if deflate is None:
            # memLevel takes 2**(9+n) bytes beside the window's 2**(2+bits): halve both together.
            bits = self._bits
            deflate = zlib.compressobj(self._level, zlib.DEFLATED, -bits, max(1, min(8, bits - 7)))
            if self._keeps:
                self._deflate = deflate
            self._keeps = self._takeover
        packed = (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
        self.plain += len(data)
        self.packed += len(packed)
        return packed

    def idle(self) -> None:
        """Gives memory back: a new compressor never refers to what went before it."""
        self._deflate = None
        self._keeps = False


class Compression:
    """Both directions of one WebSocket.

    Attributes:
        smallest: messages below this many bytes are sent as they are.
    """

    __slots__ = ("deflater", "inflater", "smallest")

    def __init__(
        self, agreed: Agreed, *, max_message: int = 0, level: int = -1, smallest: int = 0
    ) -> None:
        self.inflater = Inflater(
            bits=agreed.client_bits, takeover=agreed.client_takeover, limit=max_message
        )
        self.deflater = Deflater(
            bits=agreed.server_bits, takeover=agreed.server_takeover, level=level
        )
        self.smallest = smallest

    def discard(self) -> None:
        """Gives back all but the counts. Nothing may follow."""
        self.idle()
        self.inflater.discard()

    def ratio(self) -> float:
        """Bytes of the messages that were compressed, both ways, to what was on the wire of them.

        3.0: a third was left. Messages that were sent as they are do not count; 0.0: none else.
        """
        packed = self.inflater.packed + self.deflater.packed
        return (self.inflater.plain + self.deflater.plain) / packed if packed else 0.0

    def idle(self) -> None:
        """Gives memory back. Only between two messages."""
        self.inflater.idle()
        self.deflater.idle()
