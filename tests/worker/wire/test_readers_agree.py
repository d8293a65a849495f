"""Mutated requests through both readers, and past two parsers that stand for other servers.

What the corpus cannot name, Hypothesis looks for: bytes that one reader understands in another way
than the other, whole in another way than in pieces, or we in another way than a proxy in front of
us would. The last is what request smuggling is made of.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import h11
import httptools
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.corpus import load
from tests.support.wire import READERS, Recorder, make_wire

SMALL: Final = 600  # bytes; the corpus' long cases are about limits, which no mutation finds


def seeds(folder: str) -> list[bytes]:
    return [
        case.raw + case.later
        for case in load(folder)
        if len(case.raw) < SMALL and not case.limits and case.answering == "at the end"
    ]


# A change to a good request is more often a new thing than one to a bad request.
SEEDS: Final = 8 * seeds("http1/accept") + seeds("http1/refuse")
# Bytes and pieces on which parsers have disagreed before.
PIECES: Final = [
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\x00", b" ", b"\t", b"\x0b", b"\x0c", b":"),
    *(b",", b";", b"0", b"5", b"a", b"F", b"x", b"+", b"-", b"_", b'"', b"/", b"#", b"\x7f"),
    *(b"\x80", b"\xa0", b"\x85", b"\xff", b"%", b"?", b"@", b"0\r\n\r\n", b"5\r\nhello\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Host: y\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"chunked"),
    *(b"Connection: Upgrade\r\nUpgrade: foo\r\n", b"Expect: 100-continue\r\n", b" folded\r\n"),
    *(b"GET /inner HTTP/1.1\r\nHost: inner\r\n\r\n", b"HTTP/1.0", b"HTTP/1.1", b"CONNECT "),
]
REFUSALS: Final = {400, 413, 414, 417, 431, 501, 505}


@dataclass(frozen=True)
class Move:
    """One change to a request: what is done, where (modulo its length), and with what."""

    what: str
    at: int
    piece: bytes


MOVES: Final = st.builds(
    Move,
    st.sampled_from(
        ["delete", "replace", "insert", "double line", "move line", "drop line", "cut"]
    ),
    st.integers(0, SMALL),
    st.sampled_from(PIECES) | st.binary(min_size=1, max_size=1),
)


def mutate(data: bytes, moves: list[Move]) -> bytes:
    for move in moves:
        at = move.at % (len(data) or 1)
        lines = data.splitlines(keepends=True) or [b""]
        line = move.at % len(lines)
        match move.what:
            case "delete":
                data = data[:at] + data[at + 1 :]
            case "replace":
                data = data[:at] + move.piece + data[at + 1 :]
            case "insert":
                data = data[:at] + move.piece + data[at:]
            case "double line":
                data = b"".join([*lines[: line + 1], *lines[line:]])
            case "move line":
                taken = lines.pop(line)
                lines.insert(move.piece[0] % (len(lines) + 1), taken)
                data = b"".join(lines)
            case "drop line":
                del lines[line]
                data = b"".join(lines)
            case "cut":
                data = data[:at]
    return data


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Up to two requests of the corpus in a row, changed in up to three places."""
    chosen = draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=2))
    return mutate(b"".join(chosen), draw(st.lists(MOVES, max_size=3)))


def run(reader: str, pieces: list[bytes]) -> Recorder:
    recorder = make_wire(READERS[reader]())
    for piece in pieces:
        if piece:
            recorder.wire.receive(piece)
    return recorder


def requests(recorder: Recorder) -> list[tuple[str, list[tuple[bytes, bytes]], bytes, bool]]:
    """What was opened; bodies only where they are whole, as the rest may be cut anywhere."""
    return [
        (r.line, r.head.headers, r.body if r.ended else b"", r.ended) for r in recorder.requests
    ]


def statuses(recorder: Recorder) -> list[int]:
    return [response.status for response in recorder.responses]


@settings(max_examples=1500, deadline=None)
@given(mutants(), st.lists(st.integers(0, 2 * SMALL), max_size=4))
def test_both_readers_give_one_verdict_however_the_bytes_arrive(
    data: bytes, cuts: list[int]
) -> None:
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    whole, split = run("httptools", [data]), run("httptools", pieces)
    for one, other in ((whole, run("h11", [data])), (split, run("h11", pieces))):
        assert requests(one) == requests(other)
        assert bytes(one.output) == bytes(other.output)
        assert one.refusals == other.refusals
        assert one.closed == other.closed

    # An error may be noticed before the end of the head it is in, and then be another one; and a
    # close need not linger where the rest has not come yet.
    assert requests(whole) == requests(split)
    assert len(whole.refusals) == len(split.refusals)
    assert bool(whole.closed) == bool(split.closed)


@settings(max_examples=500, deadline=None)
@given(mutants())
def test_every_request_is_answered_once_and_a_refusal_is_the_end(data: bytes) -> None:
    recorder = run("httptools", [data])
    final = [status for status in statuses(recorder) if status >= 200]
    ended = sum(request.ended for request in recorder.requests)
    assert final == [200] * ended + [status for status, _ in recorder.refusals]
    assert {status for status, _ in recorder.refusals} <= REFUSALS
    assert len(recorder.refusals) <= 1
    if recorder.refusals:
        assert recorder.closed == "linger"

    recorder.wire.receive_eof()
    assert recorder.closed
    assert all(request.ended or request.lost for request in recorder.requests)
    assert sum(request.ended for request in recorder.requests) == ended


# Method and body of a request as a stranger would understand it.
Message = tuple[str, bytes]


def read_by_h11(data: bytes) -> list[Message]:
    """The complete requests in `data` up to the first that h11 refuses."""
    messages: list[Message] = []
    while data:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        method, body = "", b""
        try:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return messages
                if isinstance(event, h11.Request):
                    method = event.method.decode("ascii")
                elif isinstance(event, h11.Data):
                    body += event.data
        except h11.RemoteProtocolError:
            return messages
        messages.append((method.upper(), body))
        data = connection.trailing_data[0]
    return messages


@dataclass
class Llhttp:
    """The callbacks of httptools as a parser of everything, not only of heads."""

    messages: list[Message] = field(default_factory=list)
    body: bytes = b""

    def __post_init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        # It ends a message that asks for an upgrade at its head, body or not: no witness then.
        if not self.parser.should_upgrade():
            self.messages.append((self.parser.get_method().decode("ascii"), self.body))


def read_by_llhttp(data: bytes) -> list[Message]:
    """The complete requests in `data` up to the first that llhttp refuses, or an upgrade."""
    reader = Llhttp()
    with suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
        reader.parser.feed_data(data)
    return reader.messages


@settings(max_examples=1500, deadline=None)
@given(mutants())
@example(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello")
def test_what_we_take_for_a_request_no_other_parser_takes_for_two(data: bytes) -> None:
    recorder = run("httptools", [data])
    ours: list[Message] = [(r.head.method, r.body) for r in recorder.requests if r.ended]
    for theirs in (read_by_h11(data), read_by_llhttp(data)):
        shared = min(len(ours), len(theirs))
        assert ours[:shared] == theirs[:shared]
