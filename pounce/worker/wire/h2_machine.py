"""The h2 library's machine, as one server needs it: states and windows are its own, bytes are ours.

What knows the inside of h2 is here alone. h2 builds frames from objects and answers by itself; here
its frames are collected where ours are, so that they leave in one order and in one write, and what
it looks at too late or with too much noise is done beside it:

- it opens no more streams than it offers, or ends the connection: they are counted in h2.py;
- its GOAWAY closes its own machine: a graceful one is written beside it, with the machine open;
- it sees no fields (h2_hpack.py), so what is wrong with them is a matter of one stream.
"""

from __future__ import annotations

from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamInputs, StreamState
from hyperframe.frame import Frame

from pounce.worker.wire.h2_frames import (
    DATA,
    END_STREAM,
    FRAME_LIMIT,
    frame_head,
    header_frames,
    rst_stream,
    window_update,
)
from pounce.worker.wire.h2_hpack import BlockDecoder, TableSizeHeeder

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

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        for frame in frames:
            self.out.append(frame.serialize())

    @property
    def open_inbound_streams(self) -> int:
        """h2 looks through all streams for each new one; ours are counted elsewhere."""
        return 0

    def forget(self, number: int) -> None:
        """The stream is over in both directions."""
        stream = self.streams.pop(number, None)
        if stream is not None:
            self._closed_streams[number] = stream.closed_by

    def send_block(self, number: int, block: bytes, *, end: bool, early: bool = False) -> None:
        """A header block: a head, an informational one, or trailers."""
        machine = self.streams[number].state_machine
        machine.process_input(_SEND_EARLY if early else _SEND_HEADERS)
        if end:
            machine.process_input(_SEND_END)
        if self.heeder.due:
            block, self.heeder.due = self.heeder.due + block, b""
        self.out += header_frames(number, block, self.max_outbound_frame_size, end=end)

    def room(self, number: int) -> int:
        """Bytes of DATA that the windows leave for a stream; may be below nothing."""
        return min(
            self.streams[number].outbound_flow_control_window, self.outbound_flow_control_window
        )

    def window(self, number: int) -> int:
        """The stream's own window."""
        return self.streams[number].outbound_flow_control_window

    def send_payload(self, number: int, data: Any, *, end: bool) -> None:
        """One DATA frame, for which there must be room()."""
        stream: H2Stream = self.streams[number]
        machine = stream.state_machine
        machine.process_input(_SEND_DATA)
        size = len(data)
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
        state = self.streams[number].state_machine.state
        return state is StreamState.CLOSED or state is StreamState.HALF_CLOSED_LOCAL

    @property
    def largest(self) -> int:
        """Bytes of DATA in one frame; not more than is fair to others, whatever the peer takes."""
        return min(self.max_outbound_frame_size, FRAME_LIMIT)

    def cut(self, number: int, code: int) -> None:
        """RST_STREAM."""
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
