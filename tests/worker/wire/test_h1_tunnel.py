"""A tunnel on HTTP/1.1: who may have one, and that bytes go through it as they are."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pounce.worker.wire import Receiver, RequestHead, ResponseError, Wire
from pounce.worker.wire.h1 import Http1Wire
from pounce.worker.wire.h1_h11 import H11Reader
from pounce.worker.wire.h1_head import HeadReader
from pounce.worker.wire.h1_httptools import HttptoolsReader
from pounce.worker.wire.h1_request import Limits
from pounce.worker.wire.h1_rules import Http1Rules
from pounce.worker.wire.h1_states import Reading
from pounce.worker.wire.h1_tunnel import BODY_HIGH, BODY_LOW
from pounce.worker.wire.waiting import Waiting

HEAD = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\n"
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"x-a: b\r\nserver: pounce\r\n\r\n"
)


@dataclass
class End(Receiver):
    """Sink and receiver in one: keeps what comes through, and how it ended."""

    accept: bool = False
    heads: list[RequestHead] = field(default_factory=list)
    came: bytes = b""
    calls: list[str] = field(default_factory=list)
    output: bytes = b""
    writes: int = 0
    wire: Http1Wire = field(init=False)

    def open(self, head: RequestHead, wire: Wire) -> Receiver:
        self.heads.append(head)
        return self

    def data(self, data: bytes) -> None:
        assert data
        self.came += data

    def end(self) -> None:
        self.calls.append("end")

    def half_closed(self) -> None:
        self.calls.append("half_closed")

    def gone(self, reason: str, status: int = 0) -> None:
        self.calls.append("gone")

    def resumed(self) -> None:
        self.calls.append("resumed")

    def is_running(self, receiver: Receiver) -> bool:
        return False

    def refused(self, status: int, reason: str) -> None:
        self.calls.append(f"refused {status}")

    def flush_soon(self) -> None:
        self.calls.append("flush_soon")

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def finish(self, *, linger: bool) -> None:
        self.calls.append("linger" if linger else "finish")

    def abort(self) -> None:
        self.calls.append("abort")

    def write(self, data: bytes) -> None:
        self.output += data
        self.writes += 1


def make(
    reader: HeadReader | None = None, *, websockets: bool = True, switched: bool = False
) -> End:
    end = End()
    rules = Http1Rules(Limits(), server=b"pounce", websockets=websockets)
    end.wire = Http1Wire(reader or H11Reader(), end, end.write, rules)
    if switched:
        end.wire.receive(HEAD)
        end.wire.accept_tunnel(1, [(b"x-a", b"b")])
        end.output, end.writes = b"", 0
    return end


@pytest.mark.parametrize("reader", [H11Reader, HttptoolsReader])
@pytest.mark.parametrize("step", [1, 7, 10_000], ids="{} bytes at a time".format)
def test_an_accepted_tunnel_carries_bytes_as_they_are(
    reader: type[H11Reader] | type[HttptoolsReader], step: int
) -> None:
    end = make(reader())
    early, later = b"\x81\x00GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n\x00\xff"
    stream = HEAD + early
    for at in range(0, len(stream), step):
        end.wire.receive(stream[at : at + step])
    assert [(head.tunnel, head.has_body, head.target) for head in end.heads] == [
        ("websocket", False, b"/chat")
    ]
    assert end.came == b""  # what is behind a request is nobody's until it is accepted
    end.wire.accept_tunnel(1, [(b"x-a", b"b")])
    assert end.output == SWITCHED
    assert end.came == early
    end.wire.receive(later)
    assert end.came == early + later
    end.wire.send_data(1, b"HTTP/1.1 200", end=False)
    end.wire.send_data(1, b"\x00", end=False)
    end.wire.flush()
    assert end.output == SWITCHED + b"HTTP/1.1 200\x00"
    assert end.writes == 3  # the head, the first piece, and the rest


@pytest.mark.parametrize(
    ("head", "websockets"),
    [
        (HEAD, False),
        (HEAD.replace(b"websocket", b"h2c"), True),
        (HEAD.replace(b", Upgrade", b""), True),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), True),
        (HEAD.replace(b"GET", b"POST"), True),
        (HEAD.replace(b"Host", b"Content-Length: 1\r\nHost"), True),
    ],
    ids=["off", "another protocol", "Connection does not name it", "HTTP/1.0", "POST", "a body"],
)
def test_other_requests_are_for_no_tunnel_and_answered_as_usual(
    head: bytes, websockets: bool
) -> None:
    end = make(websockets=websockets)
    end.wire.receive(head)
    assert end.heads[0].tunnel == ""
    end.wire.send_head(1, 204, [], b"", end=True)
    assert end.output.startswith(b"HTTP/1.1 204 ")


def test_a_denied_tunnel_leaves_the_connection_to_the_next_request() -> None:
    end = make()
    end.wire.receive(HEAD + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    end.wire.send_head(1, 403, [], b"no", end=True)
    assert [head.target for head in end.heads] == [b"/chat", b"/"]
    assert end.heads[1].tunnel == ""


def test_two_requests_for_a_tunnel_in_a_row_are_two() -> None:
    end = make()
    for stream in (1, 2, 3):
        end.wire.receive(HEAD)
        assert end.heads[-1].tunnel == "websocket"
        end.wire.send_head(stream, 403, [], b"no", end=True)


def test_the_application_s_own_date_and_server_replace_ours() -> None:
    end = make()
    end.wire.receive(HEAD)
    end.wire.accept_tunnel(1, [(b"server", b"mine")])
    assert end.output.count(b"server: ") == 1
    assert b"server: mine\r\n" in end.output


@pytest.mark.parametrize("field", [(b"a b", b"c"), (b"a", b"b\r\nc"), ("a", "b")])
def test_a_field_that_cannot_be_written_leaves_the_request_unanswered(
    field: tuple[bytes, bytes],
) -> None:
    end = make()
    end.wire.receive(HEAD)
    with pytest.raises(ResponseError):
        end.wire.accept_tunnel(1, [field])
    assert end.output == b""
    end.wire.accept_tunnel(1, [(b"x-a", b"b")])
    assert end.output == SWITCHED


def test_a_request_that_is_answered_cannot_be_a_tunnel() -> None:
    end = make()
    end.wire.receive(HEAD)
    end.wire.send_head(1, 200, [], b"", end=False)
    with pytest.raises(ResponseError, match="cannot become a tunnel"):
        end.wire.accept_tunnel(1, [])


def test_the_next_request_does_not_get_the_tunnel_of_the_one_before() -> None:
    end = make()
    end.wire.receive(HEAD)
    end.wire.send_head(1, 403, [], b"", end=True)
    end.wire.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(ResponseError, match="cannot become a tunnel"):
        end.wire.accept_tunnel(2, [])


def test_we_end_a_tunnel_once_all_is_written() -> None:
    end = make(switched=True)
    end.wire.send_data(1, b"last", end=False)
    end.wire.send_data(1, b" words", end=True)
    assert end.output == b"last words"
    assert end.calls == ["flush_soon", "linger"]
    end.wire.receive(b"too late")
    assert end.came == b""
    assert end.wire.reading is Reading.IGNORED
    with pytest.raises(ResponseError):
        end.wire.send_data(1, b"x", end=False)


def answered(end: End, pieces: int) -> int:
    """How many writes carry so many pieces of an answer to something that came."""
    before = end.writes
    end.wire.receive(b"x")
    for _ in range(pieces):
        end.wire.send_data(1, b"a", end=False)
    end.wire.flush()
    assert end.output[-pieces:] == b"a" * pieces
    return end.writes - before


def test_one_piece_goes_out_at_once_and_several_go_out_together() -> None:
    end = make(switched=True)
    end.wire.receive(b"x")
    end.wire.send_data(1, b"a", end=False)
    assert (end.output, end.calls) == (b"a", [])
    # The first time that there are more, nobody could know.
    assert [answered(end, pieces) for pieces in (1, 3, 3, 2, 1, 1, 2, 2)] == [
        *(1, 2, 1, 1),
        *(1, 1, 2, 1),
    ]


def test_what_answers_nothing_goes_out_together() -> None:
    end = make(switched=True)
    end.wire.send_data(1, b"a", end=False)
    end.wire.send_data(1, b"b", end=False)
    assert (end.output, end.calls) == (b"", ["flush_soon"])
    end.wire.flush()
    assert (end.output, end.writes) == (b"ab", 1)


def test_the_peer_ends_a_tunnel() -> None:
    end = make(switched=True)
    end.wire.receive_eof()
    assert end.calls == ["end"]
    end.wire.send_data(1, b"", end=True)
    assert end.calls == ["end", "finish"]  # nothing can come any more


def test_a_lost_tunnel_is_told_of() -> None:
    end = make(switched=True)
    end.wire.lost("reset by peer")
    assert end.calls == ["gone"]


def test_a_reset_cuts_the_connection() -> None:
    end = make(switched=True)
    end.wire.send_data(1, b"x", end=False)
    end.wire.reset(1, 0)
    assert end.output == b"x"
    assert end.calls == ["flush_soon", "abort"]


def test_room_to_write_is_told_of() -> None:
    end = make(switched=True)
    end.wire.set_congested(True)
    end.wire.set_congested(False)
    assert end.calls == ["resumed"]


def test_reading_pauses_while_nobody_takes_what_came() -> None:
    end = make(switched=True)
    end.wire.receive(bytes(BODY_HIGH))
    assert end.calls == []
    end.wire.receive(b"x")
    assert end.calls == ["pause"]
    end.wire.consumed(1, BODY_HIGH - BODY_LOW)
    assert end.calls == ["pause"]
    end.wire.consumed(1, 1)
    assert end.calls == ["pause", "resume"]


def test_what_was_held_behind_the_request_is_read_on_from() -> None:
    end = make()
    end.wire.receive(HEAD)
    end.wire.receive(bytes(BODY_HIGH + 1))
    assert end.calls == ["pause"]
    end.wire.accept_tunnel(1, [])
    assert end.calls == ["pause"]
    end.wire.consumed(1, BODY_HIGH + 1)
    assert end.calls == ["pause", "resume"]


def test_a_drain_leaves_a_tunnel_open() -> None:
    end = make(switched=True)
    end.wire.drain()
    end.wire.receive(b"x")
    end.wire.send_data(1, b"y", end=False)
    end.wire.flush()
    assert (end.came, end.output) == (b"x", b"y")
    assert end.wire.waits_for() is Waiting.APP
