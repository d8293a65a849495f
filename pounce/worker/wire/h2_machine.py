"""The h2 library's machine, as one server needs it: states and windows are its own, bytes are ours.

What knows the inside of h2 is here alone. h2 builds frames from objects and answers by itself; here
its frames are collected where ours are, so that they leave in one order and in one write, and what
it looks at too late or with too much noise is done beside it:

- it takes some ten times as long over a frame as the frame is worth, so those that are in order in
  every respect are not given to it: it is told what came of them once it is asked about them;
- it opens no more streams than it offers, or ends the connection: they are counted in h2.py;
- its GOAWAY closes its own machine: a graceful one is written beside it, with the machine open;
- it sees no fields (h2_hpack.py), so what is wrong with them is a matter of one stream.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionState, H2Connection
from h2.events import Event
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamClosedBy, StreamInputs, StreamState
from h2.utilities import guard_increment_window
from hyperframe.frame import Frame

from pounce.worker.wire.h2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_LIMIT,
    HIGHEST_WINDOW,
    frame_head,
    header_frames,
    rst_stream,
    window_update,
)
from pounce.worker.wire.h2_hpack import Block, BlockDecoder, TableSizeHeeder

CONFIG: Final = H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)
DEFAULT_WINDOW: Final = 65535  # of a connection, whatever SETTINGS say (RFC 9113 §6.9.2)

_SEND_HEADERS, _SEND_DATA = StreamInputs.SEND_HEADERS, StreamInputs.SEND_DATA
_SEND_END, _SEND_RST = StreamInputs.SEND_END_STREAM, StreamInputs.SEND_RST_STREAM
_SEND_EARLY = StreamInputs.SEND_INFORMATIONAL_HEADERS
_OPEN, _CLOSED = StreamState.OPEN, StreamState.CLOSED
_ENDED_THERE, _ENDED_HERE = StreamState.HALF_CLOSED_REMOTE, StreamState.HALF_CLOSED_LOCAL
_SERVING: Final = ConnectionState.SERVER_OPEN


class Machine(H2Connection):
    """One connection.

    Args:
        greeting: SETTINGS and what else is to be sent first.
        stream_window, connection_window: as the greeting offers them.
        max_list_size: decoded header lists past it end the connection.

    Attributes:
        out: frames that are to be written, in order.
        most: bytes of a header block, encoded or not.
        size: bytes of DATA in them.
        sent: bytes of DATA, so far.
    """

    MAX_CLOSED_STREAMS = 1024  # h2 remembers 65,536 ends, megabytes for each lasting connection

    def __init__(
        self, greeting: bytes, *, stream_window: int, connection_window: int, max_list_size: int
    ) -> None:
        super().__init__(CONFIG)
        self.out: list[bytes] = []
        self.sent = self.size = 0
        self.most = max_list_size
        self.fields = self.decoder = BlockDecoder(max_list_size)
        self.heeder = TableSizeHeeder()
        self.encoder = self.heeder  # type: ignore[assignment]
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: stream_window,
                SettingCodes.MAX_CONCURRENT_STREAMS: 2**31 - 1,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        self.initiate_connection()
        self._credit = self._inbound_flow_control_window_manager
        if connection_window > DEFAULT_WINDOW:
            self._credit.max_window_size = self._credit.current_window_size = connection_window
            greeting += window_update(0, connection_window - DEFAULT_WINDOW)
        self._credit.window_opened(0)
        self.out = [greeting]
        # Streams that h2 does not know: their requests were whole when they came. What the peer
        # lets each send, and which of them have ended.
        self._whole: dict[int, int] = {}
        self._ends: deque[int] = deque(maxlen=self.MAX_CLOSED_STREAMS)
        self._first_window = DEFAULT_WINDOW  # of a stream, as the peer's SETTINGS have it

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        for frame in frames:
            self.out.append(frame.serialize())

    @property
    def open_inbound_streams(self) -> int:
        """h2 looks through all streams for each new one; ours are counted elsewhere."""
        return 0

    # What comes, and is in order.

    def open_plainly(self, number: int, flags: int, payload: bytes) -> Block | None:
        """HEADERS; None unless it opens a stream and holds all of a block, and nothing else."""
        ended = flags & END_STREAM
        if (
            flags != END_HEADERS | ended
            or number <= self.highest_inbound_stream_id
            or not number & 1
            or self.state_machine.state is not _SERVING
        ):
            return None
        try:
            self.fields.decode(payload)
        except ProtocolError as error:
            self._terminate_connection(error.error_code)  # as in receive_data()
            raise
        if ended:
            self.highest_inbound_stream_id = number
            self._whole[number] = self._first_window
        else:
            machine = self._begin_new_stream(number, AllowedStreamIDs.ODD).state_machine
            machine.client, machine.headers_received, machine.state = False, True, _OPEN
        return self.fields.block

    def take_plainly(self, number: int, flags: int, size: int) -> bool:
        """DATA; False unless it is of a stream that may send so much, and without padding."""
        stream = self.streams.get(number)
        if stream is None or flags & ~END_STREAM:
            return False
        machine = stream.state_machine
        state = machine.state
        own, common = stream._inbound_window_manager, self._credit
        if (
            not (state is _OPEN or state is _ENDED_HERE)
            or size > own.current_window_size
            or size > common.current_window_size
        ):
            return False
        own.current_window_size -= size
        common.current_window_size -= size
        if not flags:
            pass
        elif state is _OPEN:
            machine.state = _ENDED_THERE
        else:
            machine.state, machine.stream_closed_by = _CLOSED, StreamClosedBy.RECV_END_STREAM
        return True

    def widen_plainly(self, number: int, increment: int) -> bool:
        """WINDOW_UPDATE; False unless it is one that a window has room for."""
        if not 0 < increment <= HIGHEST_WINDOW - self.window(number):
            return False
        if not number:
            self.outbound_flow_control_window += increment
        elif number in self._whole:
            self._whole[number] += increment
        elif (stream := self.streams.get(number)) is not None:
            stream.outbound_flow_control_window += increment
        else:
            return False
        return True

    # What comes, and is for h2.

    def read(self, frame: bytes, number: int = 0) -> list[Event]:
        """A whole frame.

        Args:
            number: of its stream.
        """
        if number in self._whole:
            window = self._whole.pop(number)
            stream = H2Stream(number, self.config, self._first_window, window)
            machine = stream.state_machine
            machine.client, machine.headers_received, machine.state = False, True, _ENDED_THERE
            self.streams[number] = stream
        while self._ends:
            self._closed_streams[self._ends.popleft()] = StreamClosedBy.SEND_END_STREAM
        return self.receive_data(frame)

    def _flow_control_change_from_settings(self, old_value: int | None, new_value: int) -> None:
        super()._flow_control_change_from_settings(old_value, new_value)
        change = new_value - self._first_window
        self._first_window = new_value
        for number, window in self._whole.items():
            self._whole[number] = guard_increment_window(window, change)

    # What is sent.

    def forget(self, number: int) -> None:
        """The stream is over in both directions."""
        if self._whole.pop(number, None) is not None:
            self._closed_streams[number] = StreamClosedBy.SEND_RST_STREAM
            return
        stream = self.streams.pop(number, None)
        if stream is not None:
            self._closed_streams[number] = stream.closed_by

    def send_block(self, number: int, block: bytes, *, end: bool, early: bool = False) -> None:
        """A header block: a head, an informational one, or trailers."""
        if number in self._whole:
            if end:
                self._end_whole(number)
        else:
            machine = self.streams[number].state_machine
            machine.process_input(_SEND_EARLY if early else _SEND_HEADERS)
            if end:
                machine.process_input(_SEND_END)
        if self.heeder.due:
            block, self.heeder.due = self.heeder.due + block, b""
        self.out += header_frames(number, block, self.max_outbound_frame_size, end=end)

    def _end_whole(self, number: int) -> None:
        del self._whole[number]
        self._ends.append(number)

    def window(self, number: int) -> int:
        """The stream's own window; of stream 0 the connection's; 0 of one that is over."""
        if not number:
            return self.outbound_flow_control_window
        window = self._whole.get(number)
        if window is None:
            stream = self.streams.get(number)
            return 0 if stream is None else stream.outbound_flow_control_window
        return window

    def room(self, number: int) -> int:
        """Bytes of DATA that the windows leave for a stream; may be below nothing."""
        window = self._whole.get(number)
        if window is None:
            window = self.streams[number].outbound_flow_control_window
        common = self.outbound_flow_control_window
        return min(window, common)

    def send_payload(self, number: int, data: Any, *, end: bool) -> None:
        """One DATA frame, for which there must be room()."""
        size = len(data)
        if number in self._whole:
            if end:
                self._end_whole(number)
            else:
                self._whole[number] -= size
        else:
            stream: H2Stream = self.streams[number]
            machine = stream.state_machine
            machine.process_input(_SEND_DATA)
            if end:
                machine.process_input(_SEND_END)
            stream.outbound_flow_control_window -= size
        self.outbound_flow_control_window -= size
        self.sent += size
        self.size += size
        self.out.append(frame_head(size, DATA, END_STREAM if end else 0, number))
        if size:
            self.out.append(data)

    def is_ended(self, number: int) -> bool:
        """END_STREAM was sent."""
        if number in self._whole:
            return False
        stream = self.streams.get(number)
        if stream is None:
            return True
        state = stream.state_machine.state
        return state is _CLOSED or state is _ENDED_HERE

    @property
    def largest(self) -> int:
        """Bytes of DATA in one frame; not more than is fair to others, whatever the peer takes."""
        return min(self.max_outbound_frame_size, FRAME_LIMIT)

    def cut(self, number: int, code: int) -> None:
        """RST_STREAM."""
        if self._whole.pop(number, None) is not None:
            self._closed_streams[number] = StreamClosedBy.SEND_RST_STREAM
        else:
            stream = self.streams.get(number)
            if stream is not None and not stream.closed:
                stream.state_machine.process_input(_SEND_RST)
        self.out.append(rst_stream(number, code))

    def give_credit(self, number: int, size: int) -> None:
        """So many bytes of DATA were taken, or dropped; stream 0: none of a stream that goes on."""
        increment = self._credit.process_bytes(size)
        if increment:
            self.out.append(window_update(0, increment))
        stream = self.streams.get(number)
        if stream is not None:
            increment = stream._inbound_window_manager.process_bytes(size)
            if increment:
                self.out.append(window_update(number, increment))

    def drop_payload(self, size: int) -> None:
        """DATA came of a stream that was reset here, which may be on its way for a while."""
        self._credit.window_consumed(size)
        self.give_credit(0, size)

    def may_send(self, number: int) -> int:
        """How much the peer may still send of a stream."""
        return self.streams[number].inbound_flow_control_window

    def was_reset(self, number: int) -> bool:
        """A stream that is over ended by a reset, of either side."""
        return self._stream_is_closed_by_reset(number)
