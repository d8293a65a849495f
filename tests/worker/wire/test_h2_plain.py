"""Frames that are not given to h2, against a machine that gives it each of them.

Hypothesis makes conversations: frames of a client, good and bad, and an application that answers,
takes, cuts. Both must write the same bytes and tell the same, after every step.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pounce.asgi import Header
from pounce.worker.connection import PREFACE
from pounce.worker.wire import Receiver, RequestHead, ResponseError, Wire
from pounce.worker.wire.h1_request import Limits
from pounce.worker.wire.h1_rules import Http1Rules
from pounce.worker.wire.h2 import Http2Wire
from pounce.worker.wire.h2_frames import FLOW_CONTROL_ERROR, STREAM_CLOSED
from pounce.worker.wire.h2_hpack import Block
from pounce.worker.wire.h2_machine import Machine
from pounce.worker.wire.h2_output import Http2Rules
from pounce.worker.wire.h2_parting import PARTING_PING
from tests.support.h2 import GET, HANDSHAKE, POST, SETTINGS, block, frame

# Streams of a conversation: the latest, the one before it, or one by its number.
NUMBERS: Final = (*5 * (-1,), *3 * (-2,), -3, 1, 9, 2, 0)
INDEXED: Final = b"\x82\x86\x84\x41\x06a.test"  # GET, with :authority put into the table
BLOCKS: Final = (
    *3 * (block(*GET), block(*POST), INDEXED),
    b"\x82\x86\x84\xbe",  # the same by the table; an error before it
    block(*POST, (b"content-length", b"20")),
    block(*HANDSHAKE),
    block((b"x-trailer", b"1")),
    block(*GET, (b"Upper", b"case")),
    b"\xff\xff",
)


class AllToH2(Machine):
    """The reference: h2 looks at every frame."""

    def open_plainly(self, number: int, flags: int, payload: bytes) -> Block | None:
        return None

    def take_plainly(self, number: int, flags: int, size: int) -> bool:
        return False

    def widen_plainly(self, number: int, increment: int) -> bool:
        return False


@dataclass
class Told(Receiver):
    """Who asked for something: notes what it hears of it."""

    sink: Listener
    number: int

    def data(self, data: bytes) -> None:
        self.sink.note("data", self.number, data)
        self.sink.unread[self.number] = self.sink.unread.get(self.number, 0) + len(data)

    def end(self) -> None:
        self.sink.note("end", self.number)

    def half_closed(self) -> None:
        self.sink.note("half closed", self.number)

    def gone(self, reason: str, status: int = 0) -> None:
        self.sink.note("gone", self.number, reason, status)

    def resumed(self) -> None:
        self.sink.note("resumed", self.number)


@dataclass
class Listener:
    """The `Sink` of a wire, with what its applications have not taken."""

    notes: list[tuple[Any, ...]] = field(default_factory=list)
    wires: dict[int, Wire] = field(default_factory=dict)
    unread: dict[int, int] = field(default_factory=dict)
    latest: int = 1

    def number(self, which: int) -> int:
        """What NUMBERS means by it."""
        return which if which >= 0 else max(1, self.latest + 2 * (which + 1))

    def note(self, *what: Any) -> None:
        self.notes.append(what)

    def open(self, head: RequestHead, wire: Wire) -> Receiver:
        self.note("open", *head)
        self.wires[head.stream] = wire
        return Told(self, head.stream)

    def is_running(self, receiver: Receiver) -> bool:
        return False

    def refused(self, status: int, reason: str) -> None:
        self.note("refused", status, reason)

    def flush_soon(self) -> None:
        self.note("flush soon")

    def pause(self) -> None:
        self.note("pause")

    def resume(self) -> None:
        self.note("resume")

    def finish(self, *, linger: bool) -> None:
        self.note("finish", linger)

    def abort(self) -> None:
        self.note("abort")


Step = Callable[[Http2Wire, Listener], None]
numbers: Final = st.sampled_from(NUMBERS)


def says(data: bytes) -> Step:
    def step(wire: Http2Wire, sink: Listener) -> None:
        wire.receive(data)

    return step


def frames(kind: int, flags: int, which: int, payload: bytes) -> Step:
    def step(wire: Http2Wire, sink: Listener) -> None:
        wire.receive(frame(kind, flags, sink.number(which), payload))

    return step


def asks(flags: int, payload: bytes) -> Step:
    """A header block on a new stream."""

    def step(wire: Http2Wire, sink: Listener) -> None:
        sink.latest += 2
        wire.receive(frame(1, flags, sink.latest, payload))

    return step


def does(which: int, what: Callable[[Wire, Listener, int], None]) -> Step:
    """The application of a stream does something, which it may be too late for."""

    def step(wire: Http2Wire, sink: Listener) -> None:
        number = sink.number(which)
        if number in sink.wires:
            try:
                what(sink.wires[number], sink, number)
            except ResponseError as error:
                sink.note("error", str(error))

    return step


new_streams: Final = st.builds(
    asks, st.sampled_from([0x5, 0x4]), st.sampled_from([INDEXED, block(*POST), block(*HANDSHAKE)])
)


@st.composite
def headers(draw: st.DrawFn) -> Step:
    flags = draw(st.sampled_from([0x5, 0x4, 0x5, 0x4, 0x1, 0x0, 0xD, 0x25, 0x45]))
    payload = draw(st.sampled_from(BLOCKS))
    if flags & 0x8:
        payload = b"\x02" + payload + b"\0\0"
    if flags & 0x20:
        payload = b"\0\0\0\0\x10" + payload
    if draw(st.booleans()):
        return asks(flags, payload)
    return frames(1, flags, draw(numbers), payload)


@st.composite
def data(draw: st.DrawFn) -> Step:
    flags = draw(st.sampled_from([0, 0, 1, 1, 8, 9, 0x40]))
    payload = b"d" * draw(st.sampled_from([0, 1, 20, 700, 1024, 5000]))
    if flags & 8:
        payload = b"\x03" + payload + b"\0\0\0"
    return frames(0, flags, draw(numbers), payload)


@st.composite
def control(draw: st.DrawFn) -> Step:
    number = draw(numbers)
    big = st.sampled_from([0, 1, 10, 3000, 3000, 30_000, 65535, 2**31 - 1, 2**31 - 65536])
    match draw(st.sampled_from([*"wwwsssrr", "ping", "priority", "goaway"])):
        case "w":
            update = draw(big).to_bytes(4, "big")[: draw(st.sampled_from([4, 4, 4, 3]))]
            return frames(8, 0, number, update)
        case "s":
            setting = draw(st.sampled_from([4, 4, 4, 1, 5]))
            return frames(4, 0, 0, struct.pack(">HI", setting, draw(big)))
        case "r":
            return frames(3, 0, number, b"\0\0\0\x08")
        case "ping":
            return says(frame(6, 0, 0, b"12345678"))
        case "priority":
            return frames(2, 0, number, b"\0\0\0\0\x10")
        case _:
            return says(frame(7, 0, 0, bytes(8)))


@st.composite
def application(draw: st.DrawFn) -> Step:
    number = draw(numbers)
    size = draw(st.sampled_from([0, 1, 100, 20_000, 90_000]))
    end = draw(st.booleans())
    fields: list[Header] = [(b"x", b"y")]

    def answers(wire: Wire, sink: Listener, number: int) -> None:
        wire.send_head(number, 200, fields, b"b" * size, end=end)

    def sends(wire: Wire, sink: Listener, number: int) -> None:
        wire.send_data(number, b"c" * size, end=end)

    def ends_with_trailers(wire: Wire, sink: Listener, number: int) -> None:
        wire.send_trailers(number, fields, end=True)

    def hints(wire: Wire, sink: Listener, number: int) -> None:
        wire.inform(number, 103, fields)

    def takes(wire: Wire, sink: Listener, number: int) -> None:
        wire.consumed(number, sink.unread.pop(number, 0))

    def accepts(wire: Wire, sink: Listener, number: int) -> None:
        wire.accept_tunnel(number, fields)

    def resets(wire: Wire, sink: Listener, number: int) -> None:
        wire.reset(number, 0)

    steps = [answers, answers, sends, sends, ends_with_trailers, hints, takes, takes]
    return does(number, draw(st.sampled_from([*steps, accepts, resets])))


def flushes(wire: Http2Wire, sink: Listener) -> None:
    wire.flush()


def drains(wire: Http2Wire, sink: Listener) -> None:
    wire.drain()


def leaves(wire: Http2Wire, sink: Listener) -> None:
    wire.receive_eof()


def grows_old(wire: Http2Wire, sink: Listener) -> None:
    wire.sweep(0.0)
    wire.sweep(1000.0)


def congests(wire: Http2Wire, sink: Listener) -> None:
    wire.set_congested(not wire.congested)


has_heard_the_goodbye: Final = says(frame(6, 1, 0, PARTING_PING))
STEPS: Final = st.lists(
    st.one_of(
        new_streams,
        new_streams,
        headers(),
        data(),
        data(),
        control(),
        application(),
        application(),
        st.sampled_from([flushes, flushes, flushes, congests]),
        st.sampled_from([*20 * [flushes], drains, has_heard_the_goodbye, leaves, grows_old]),
    ),
    max_size=40,
)


def new_wire(monkeypatch: pytest.MonkeyPatch, machine: type[Machine]) -> tuple[Http2Wire, Listener]:
    rules = Http2Rules(
        Http1Rules(Limits(max_body_size=30_000)),
        clock=lambda: 0.0,
        max_streams=5,
        stream_window=6000,
        connection_window=65535,
    )
    rules.http1.websockets = True
    sink = Listener()
    with monkeypatch.context() as patch:
        patch.setattr("pounce.worker.wire.h2_output.Machine", machine)
        wire = Http2Wire(sink, lambda data: sink.note("write", data), rules)
    assert type(wire.machine) is machine
    wire.receive(PREFACE + SETTINGS + frame(8, 0, 0, (200_000).to_bytes(4, "big")))
    wire.receive(frame(1, 5, 1, INDEXED))  # the first opens h2's connection
    return wire, sink


@settings(
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_what_is_not_given_to_h2_comes_out_as_if_it_were(
    monkeypatch: pytest.MonkeyPatch, steps: list[Step]
) -> None:
    wire, sink = new_wire(monkeypatch, Machine)
    reference, expected = new_wire(monkeypatch, AllToH2)
    for step in [*steps, flushes]:
        step(wire, sink)
        step(reference, expected)
        assert sink.notes == expected.notes
        assert wire.waits_for() is reference.waits_for()
        assert wire.parting is reference.parting
        assert wire.streams.keys() == reference.streams.keys()
        assert wire.held == reference.held


def test_a_get_a_post_and_credit_are_not_given_to_h2(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, sink = new_wire(monkeypatch, Machine)
    wire.flush()
    with monkeypatch.context() as patch:
        patch.setattr(Machine, "receive_data", pytest.fail)
        wire.receive(
            frame(1, 5, 3, INDEXED)
            + frame(1, 4, 5, block(*POST))
            + frame(0, 0, 5, b"body")
            + frame(0, 1, 5, b"end")
            + frame(8, 0, 0, b"\0\0\0\x01")
            + frame(8, 0, 3, b"\0\0\0\x01")
            + frame(8, 0, 5, b"\0\0\0\x01")
        )
        for number in (3, 5):
            sink.wires[number].send_head(number, 200, [], b"ok\n", end=True)
        wire.flush()
    assert ("end", 5) in sink.notes
    assert not wire.machine.streams or list(wire.machine.streams) == [1]


@pytest.mark.parametrize("machine", [Machine, AllToH2])
def test_a_second_request_on_a_stream_that_has_ended_is_known_to_be_one(
    monkeypatch: pytest.MonkeyPatch, machine: type[Machine]
) -> None:
    wire, sink = new_wire(monkeypatch, machine)
    wire.receive(frame(1, 5, 3, INDEXED))
    sink.wires[3].send_head(3, 200, [], b"ok\n", end=True)
    wire.receive(frame(1, 5, 3, INDEXED))
    assert sink.notes[-1] == ("finish", True)
    goaway = [what[1] for what in sink.notes if what[0] == "write"][-1][-17:]
    assert goaway == frame(7, 0, 0, struct.pack(">II", 3, STREAM_CLOSED))


def test_the_reserved_bit_of_credit_is_ignored_where_h2_minds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Source: RFC 9113 §6.9."""
    wire, _ = new_wire(monkeypatch, Machine)
    before = wire.machine.outbound_flow_control_window
    wire.receive(frame(8, 0, 0, b"\x80\0\0\x05"))
    assert wire.machine.outbound_flow_control_window == before + 5


@pytest.mark.parametrize("machine", [Machine, AllToH2])
def test_more_than_all_streams_together_may_send_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, machine: type[Machine]
) -> None:
    wire, sink = new_wire(monkeypatch, machine)
    wire.machine._credit.current_window_size = 9000
    for number in (3, 5):
        wire.receive(frame(1, 4, number, block(*POST)) + frame(0, 0, number, bytes(5000)))
    assert ("data", 3, bytes(5000)) in sink.notes
    assert ("data", 5, bytes(5000)) not in sink.notes
    goaway = [what[1] for what in sink.notes if what[0] == "write"][-1][-17:]
    assert goaway == frame(7, 0, 0, struct.pack(">II", 5, FLOW_CONTROL_ERROR))


@pytest.mark.parametrize("machine", [Machine, AllToH2])
def test_settings_change_the_windows_of_streams_that_are_there(
    monkeypatch: pytest.MonkeyPatch, machine: type[Machine]
) -> None:
    wire, sink = new_wire(monkeypatch, machine)
    wire.receive(frame(1, 5, 3, INDEXED) + frame(4, 0, 0, struct.pack(">HI", 4, 10)))
    sink.wires[3].send_head(3, 200, [], b"b" * 100, end=True)
    wire.flush()
    written = b"".join([what[1] for what in sink.notes if what[0] == "write"])
    assert written.endswith(frame(0, 0, 3, b"b" * 10))
    wire.receive(frame(4, 0, 0, struct.pack(">HI", 4, 30)))
    wire.flush()
    written = b"".join([what[1] for what in sink.notes if what[0] == "write"])
    assert written.endswith(frame(0, 0, 3, b"b" * 20))
