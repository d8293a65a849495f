"""One HTTP/2 connection, server side: frames to requests, and what a connection may cost.

Knows no socket, no clock and no application. Streams are h2_stream.py's, what is written
h2_output.py's; the states of RFC 9113 §5.1 and the windows are the library's (h2_machine.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from pounce.worker.wire import Sink
from pounce.worker.wire.h1_request import Refusal
from pounce.worker.wire.h2_abuse import BLOCK_FRAMES_LIMIT, SETTINGS_PER_GLITCH
from pounce.worker.wire.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME_LIMIT,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEAD_SIZE,
    HEADERS,
    HIGHEST_WINDOW,
    LAST_STREAM,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    read_head,
)
from pounce.worker.wire.h2_hpack import Block
from pounce.worker.wire.h2_output import Http2Rules
from pounce.worker.wire.h2_parting import PARTING_PING, Http2Parting, Parting
from pounce.worker.wire.h2_request import (
    Malformed,
    check_request,
    check_trailers,
    parse_priority,
)
from pounce.worker.wire.h2_stream import Answer, Http2Stream
from pounce.worker.wire.h2_streams import Fatal
from pounce.worker.wire.waiting import Waiting

PREFACE_SIZE: Final = 24
KNOWN_TO_H2: Final = frozenset(range(CONTINUATION + 1))
_CLOSED = Parting.CLOSED


class Http2Wire(Http2Parting):
    """The `ConnectionWire` of HTTP/2."""

    __slots__ = ("_block_frames", "_block_size", "_block_stream", "_buffer", "_greeted", "_left")

    def __init__(self, sink: Sink, write: Callable[[bytes], None], rules: Http2Rules) -> None:
        super().__init__(sink, write, rules)
        self._buffer = b""  # a frame that has begun
        self._left = PREFACE_SIZE  # of the preface, not yet come
        self._greeted = False  # SETTINGS of the peer have come
        self._block_stream = 0  # whose header block is not complete
        self._block_frames = self._block_size = 0

    def receive(self, data: bytes) -> None:
        """Bytes from the peer, 1 or more. Never raises for what they are."""
        self.body_bytes += len(data)
        if self.parting is _CLOSED:
            return
        try:
            if self._left:
                self.machine.receive_data(data[: self._left])
                size = len(data)
                data = data[self._left :]
                self._left = max(0, self._left - size)
            self._read(self._buffer + data if self._buffer else data)
        except Fatal as fatal:
            self.fail_connection(fatal.code, fatal.reason)
        except ProtocolError as error:
            self.fail_connection(int(error.error_code), str(error), said=True)
        if self.machine.out and not self._flushing:
            self.soon()

    def receive_eof(self) -> None:
        """The peer will send nothing more. What it asked for completely is still answered."""
        self._peer_leaves = True
        for stream in list(self.streams.values()):
            receiver = stream.receiver
            if receiver is None:
                if not stream.ended:
                    self.forget(stream)
            elif stream.ended or stream.answer is Answer.TUNNEL:
                receiver.half_closed()
            else:
                self.give_up(stream, 400, "request body ended early")
        if self.parting is _CLOSED:
            self._sink.finish(linger=False)
        else:
            self.stream_over()

    def set_congested(self, congested: bool) -> None:
        """The transport holds more than it likes, or no longer does."""
        self.congested = congested
        if not congested:
            self.flush()

    def waits_for(self) -> Waiting:
        """What it waits for, apart from what only the transport knows."""
        if self.parting is Parting.TOLD:
            return Waiting.APP  # which has a deadline of its own
        if not self._greeted or self._block_stream:
            return Waiting.HEAD
        if self.streams:
            return Waiting.APP  # they are looked after one by one
        return Waiting.HEAD if self._buffer else Waiting.NEXT

    @property
    def answers(self) -> bool:
        """The head of an answer is out, and the answer not complete."""
        return any(stream.answer is not Answer.DUE for stream in self.streams.values())

    @property
    def ends_by_closing(self) -> bool:
        """Never: each answer has an end of its own."""
        return False

    def _read(self, data: bytes) -> None:
        """The whole frames in `data`; a last one that has only begun is kept."""
        at, size = 0, len(data)
        while size - at >= HEAD_SIZE:
            high, low, kind, flags, number = read_head(data, at)
            length = high << 8 | low
            if length > FRAME_LIMIT:  # h2 looks once all of it has come, up to 16 MiB
                raise Fatal(FRAME_SIZE_ERROR, "frame over 16384 bytes")
            begin, end = at + HEAD_SIZE, at + HEAD_SIZE + length
            if end > size:
                break
            number &= LAST_STREAM
            if not self._greeted:
                if kind != SETTINGS or flags & ACK:
                    raise Fatal(PROTOCOL_ERROR, "the first frame is not SETTINGS")
                self._greeted = True
            if self._block_stream and (kind != CONTINUATION or number != self._block_stream):
                raise Fatal(PROTOCOL_ERROR, "frame within a header block")
            # Nearly all frames are such; for h2 each would have to be copied, and read again.
            if kind == HEADERS:
                block = self.machine.open_plainly(number, flags, data[begin:end])
                if block is not None:
                    self._request(number, block, ended=flags & END_STREAM != 0)
                else:
                    self._frame(data[at:end], kind, flags, number, length)
            elif kind == DATA and self.machine.take_plainly(number, flags, length):
                self._payload_came(number, data[begin:end], flags, length)
            else:
                self._frame(data[at:end], kind, flags, number, length)
            at = end
            if self.parting is _CLOSED:
                return
        self._buffer = data[at:]

    def _frame(self, frame: bytes, kind: int, flags: int, number: int, length: int) -> None:
        if kind == HEADERS:
            self._headers(frame, number, flags)
        elif kind == DATA:
            self._data(frame, number, flags, length)
        elif kind == WINDOW_UPDATE:
            self._window_update(frame, number, length)
        elif kind == CONTINUATION:
            self._continuation(frame, number, flags)
        elif kind == GOAWAY:
            self._goaway(number, length)
        elif kind in KNOWN_TO_H2:
            self._rare(frame, kind, number, flags, length)
        else:
            self.glitch()
            if kind == PRIORITY_UPDATE:
                self._priority_update(frame[HEAD_SIZE:], number)

    # Header blocks.

    def _headers(self, frame: bytes, number: int, flags: int) -> None:
        if not flags & END_HEADERS:
            self._block_stream = number
            self._block_frames, self._block_size = 1, len(frame)
        self._fields_came(number, self.machine.read(frame, number))

    def _continuation(self, frame: bytes, number: int, flags: int) -> None:
        self._block_frames += 1
        self._block_size += len(frame)
        # Invisible as a request, however long it goes on (CVE-2024-27983, CERT VU#421644).
        if self._block_frames > BLOCK_FRAMES_LIMIT or self._block_size > self.machine.most:
            raise Fatal(ENHANCE_YOUR_CALM, "header block goes on for too long")
        events = self.machine.read(frame, number)
        if flags & END_HEADERS:
            self._block_stream = 0
            self._fields_came(number, events)

    def _fields_came(self, number: int, events: list[Event]) -> None:
        if not events:
            return
        first = events[0]
        if isinstance(first, StreamReset):
            self._reset_by_h2(number)
            return
        block = self.machine.fields.block
        ended = any(isinstance(event, StreamEnded) for event in events)
        if isinstance(first, RequestReceived):
            self._request(number, block, ended=ended)
        elif (stream := self.streams.get(number)) is not None:
            try:
                check_trailers(block.fields, self.rules.limits)
            except Malformed as error:
                self.fail(number, str(error))
            else:
                self._ended(stream)

    def _request(self, number: int, block: Block, *, ended: bool) -> None:
        if self.parting is Parting.PARTED:  # it may be tried again, elsewhere
            self.machine.cut(number, REFUSED_STREAM)
            self.machine.forget(number)
            self.glitch()
            return
        request = block.request
        try:
            if request is None:
                rules = self.rules
                request = block.request = check_request(
                    block.fields, rules.limits, tunnels=rules.http1.websockets
                )
            if ended and (request.length > 0 or request.protocol):
                raise Malformed("content-length, or a tunnel, without anything to come")
        except Malformed as error:
            self._sink.refused(400, str(error))
            self.fail(number, str(error))
        except Refusal as refusal:
            self.glitch()
            self.refuse_stream(number, refusal, ended=ended)
        else:
            self.open_stream(number, request, ended=ended)
            if self.requests == self.rules.http1.max_requests:
                self.begin_parting()

    # Bodies.

    def _data(self, frame: bytes, number: int, flags: int, length: int) -> None:
        machine = self.machine
        if number not in self.streams and machine.was_reset(number):
            machine.drop_payload(length)  # sent before the reset came
            self.glitch()
            return
        events = machine.read(frame, number)
        if not events:  # h2 has reset what is over
            self.count_reset()
        for event in events:
            if isinstance(event, DataReceived):
                self._payload_came(number, bytes(event.data or b""), flags, length)
            elif isinstance(event, StreamReset):
                self._reset_by_h2(number)

    def _payload_came(self, number: int, data: bytes, flags: int, length: int) -> None:
        size = len(data)
        if not size and not flags & END_STREAM:
            self.glitch()
        stream = self.streams.get(number)
        if stream is None:
            self.machine.give_credit(0, length)
            return
        if length > size:  # padding is nobody's to take
            self.machine.give_credit(number, length - size)
        if size:
            self._body_came(stream, data)
        if flags & END_STREAM and self.streams.get(number) is stream:
            if stream.length not in (-1, stream.body_bytes):
                self.fail(number, "request body is shorter than content-length")
            else:
                self._ended(stream)

    def _body_came(self, stream: Http2Stream, data: bytes) -> None:
        number, size = stream.number, len(data)
        stream.body_bytes += size
        stream.expects = False
        if stream.body_bytes > stream.length >= 0:
            self.machine.give_credit(0, size)
            self.fail(number, "request body is longer than content-length")
        elif stream.receiver is None:
            self.machine.give_credit(0, size)
            if not self.machine.may_send(number):
                self.sent_all(stream)
        elif stream.body_bytes > self.rules.limits.max_body_size > 0 and stream.early is None:
            self.machine.give_credit(0, size)
            limit = self.rules.limits.max_body_size
            if stream.answer is not Answer.TUNNEL:
                self.give_up(stream, 413, f"request body over {limit} bytes")
        else:
            stream.unread += size
            if stream.early is not None:
                stream.early.append(data)
            else:
                stream.receiver.data(data)

    def _ended(self, stream: Http2Stream) -> None:
        """The peer has sent all of a stream."""
        if self.streams.get(stream.number) is not stream:
            return
        stream.ended = True
        receiver = stream.receiver
        if receiver is not None:
            if stream.early is None:
                receiver.end()
        elif stream.answer is Answer.GIVEN and not stream.ending:
            self.forget(stream)

    # The rest.

    def _window_update(self, frame: bytes, number: int, length: int) -> None:
        widening = int.from_bytes(frame[9:13], "big") & HIGHEST_WINDOW
        if number and length == 4 and not widening:
            if number in self.streams:
                self.fail(number, "WINDOW_UPDATE of nothing")
                return
            if self.machine.was_reset(number):
                self.glitch()
                return
        self.spend_update()
        if length != 4 or not self.machine.widen_plainly(number, widening):
            for event in self.machine.read(frame, number):
                if isinstance(event, StreamReset):
                    self._reset_by_h2(number)
        if self._order.streams:
            self.soon()

    def _rare(self, frame: bytes, kind: int, number: int, flags: int, length: int) -> None:
        if kind == RST_STREAM:
            if number > self.machine.highest_inbound_stream_id:  # h2 takes it (RFC 9113 §6.4)
                raise Fatal(PROTOCOL_ERROR, "RST_STREAM of a stream that was not opened")
        elif kind == SETTINGS and flags & ACK:
            if length:  # h2 takes it for another error (RFC 9113 §6.5)
                raise Fatal(FRAME_SIZE_ERROR, "SETTINGS with ACK and a payload")
        elif kind == PING and flags & ACK:
            if frame[HEAD_SIZE:] == PARTING_PING:
                self.part()
        elif kind in (SETTINGS, PING, PRIORITY):
            self.glitch(1 + length // (6 * SETTINGS_PER_GLITCH))
        self.machine.read(frame, number)
        if kind == RST_STREAM:
            stream = self.streams.get(number)
            if stream is not None:
                receiver = stream.receiver
                self.forget(stream, reset=True)
                if receiver is not None:
                    receiver.gone("the peer reset the stream")
            self.count_reset()
        elif kind == SETTINGS and self._order.streams:
            self.soon()  # windows may be wider

    def _goaway(self, number: int, length: int) -> None:
        """The peer asks for nothing more; h2 would send nothing more either."""
        if number:
            raise Fatal(PROTOCOL_ERROR, "GOAWAY of a stream")
        if length < 8:
            raise Fatal(FRAME_SIZE_ERROR, "GOAWAY under 8 bytes")
        self._peer_leaves = True
        self.stream_over()

    def _priority_update(self, payload: bytes, number: int) -> None:
        """Source: RFC 9218 §7.1."""
        if number or len(payload) < 4:
            raise Fatal(PROTOCOL_ERROR, "PRIORITY_UPDATE of a stream, or of none")
        which = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
        priority = parse_priority(payload[4:])
        if which in self.streams:
            self.streams[which].priority = priority
        elif which > self.machine.highest_inbound_stream_id:
            if len(self._announced) >= self.rules.max_streams:
                self._announced.clear()
            self._announced[which] = priority

    def _reset_by_h2(self, number: int) -> None:
        """h2 has written RST_STREAM, because of what the peer sent."""
        stream = self.streams.get(number)
        if stream is not None:
            receiver = stream.receiver
            self.forget(stream, reset=True)
            if receiver is not None:
                receiver.gone("the peer broke a rule of its stream")
        self.count_reset()
