"""What befalls an HTTP/1.1 connection from outside, at every place where it can be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pounce.worker.wire import ResponseError
from pounce.worker.wire.h1_states import Reading, Writing
from tests.support.wire import Recorder, feed
from tests.worker.wire.test_h1 import CHUNKED, EXPECT, GET, NEXT, POST, answer, lines, wire


def head_begun() -> Recorder:
    one = wire()
    feed(one, GET[:10])
    return one


def idle() -> Recorder:
    return wire()


def in_body() -> Recorder:
    one = wire()
    feed(one, POST + b"ab")
    return one


def in_chunks() -> Recorder:
    one = wire()
    feed(one, CHUNKED + b"5\r\nab")
    return one


def due() -> Recorder:
    one = wire()
    feed(one, GET)
    return one


def answering() -> Recorder:
    one = due()
    answer(one, end=False, body=b"o")
    return one


def answered_in_body() -> Recorder:
    one = in_body()
    answer(one)
    return one


def answering_in_body() -> Recorder:
    one = in_body()
    answer(one, end=False, body=b"o")
    return one


def closing() -> Recorder:
    one = wire()
    feed(one, b"nonsense\r\n\r\n")
    return one


# (closed, refusals, lost) after the event; None: nothing at all.
PLACES: dict[str, tuple[Callable[[], Recorder], Reading, Writing]] = {
    "idle": (idle, Reading.HEAD, Writing.IDLE),
    "head begun": (head_begun, Reading.HEAD, Writing.IDLE),
    "in body": (in_body, Reading.FIXED, Writing.DUE),
    "in chunks": (in_chunks, Reading.CHUNKED, Writing.DUE),
    "due": (due, Reading.COMPLETE, Writing.DUE),
    "answering": (answering, Reading.COMPLETE, Writing.FIXED),
    "answered in body": (answered_in_body, Reading.FIXED, Writing.IDLE),
    "answering in body": (answering_in_body, Reading.FIXED, Writing.FIXED),
    "closing": (closing, Reading.IGNORED, Writing.IDLE),
}
EVENTS: dict[str, Callable[[Recorder], None]] = {
    "eof": lambda one: one.wire.receive_eof(),
    "lost": lambda one: one.wire.lost("reset"),
    "refuse": lambda one: one.wire.refuse(408, "too slow"),
    "reset": lambda one: one.wire.reset(1, 0),
    "drain": lambda one: one.wire.drain(),
}
OUTCOME = {
    ("idle", "eof"): ("finish", 0, ""),
    ("idle", "lost"): ("", 0, ""),
    ("idle", "refuse"): ("linger", 1, ""),
    ("idle", "reset"): ("abort", 0, ""),
    ("idle", "drain"): ("", 0, ""),
    ("head begun", "eof"): ("linger", 1, ""),
    ("head begun", "lost"): ("", 0, ""),
    ("head begun", "refuse"): ("linger", 1, ""),
    ("head begun", "reset"): ("abort", 0, ""),
    ("head begun", "drain"): ("", 0, ""),
    ("in body", "eof"): ("linger", 1, "request body ended early"),
    ("in body", "lost"): ("", 0, "reset"),
    ("in body", "refuse"): ("linger", 1, "too slow"),
    ("in body", "reset"): ("abort", 0, ""),
    ("in body", "drain"): ("", 0, ""),
    ("in chunks", "eof"): ("linger", 1, "request body ended early"),
    ("in chunks", "lost"): ("", 0, "reset"),
    ("in chunks", "refuse"): ("linger", 1, "too slow"),
    ("in chunks", "reset"): ("abort", 0, ""),
    ("in chunks", "drain"): ("", 0, ""),
    ("due", "eof"): ("", 0, ""),
    ("due", "lost"): ("", 0, "reset"),
    ("due", "refuse"): ("linger", 1, "too slow"),
    ("due", "reset"): ("abort", 0, ""),
    ("due", "drain"): ("", 0, ""),
    ("answering", "eof"): ("", 0, ""),
    ("answering", "lost"): ("", 0, "reset"),
    ("answering", "refuse"): ("abort", 0, "too slow"),
    ("answering", "reset"): ("abort", 0, ""),
    ("answering", "drain"): ("", 0, ""),
    ("answered in body", "eof"): ("linger", 0, ""),
    ("answered in body", "lost"): ("", 0, ""),
    ("answered in body", "refuse"): ("linger", 0, ""),
    ("answered in body", "reset"): ("abort", 0, ""),
    ("answered in body", "drain"): ("", 0, ""),
    ("answering in body", "eof"): ("abort", 0, "request body ended early"),
    ("answering in body", "lost"): ("", 0, "reset"),
    ("answering in body", "refuse"): ("abort", 0, "too slow"),
    ("answering in body", "reset"): ("abort", 0, ""),
    ("answering in body", "drain"): ("", 0, ""),
    ("closing", "eof"): ("linger", 1, ""),
    ("closing", "lost"): ("linger", 1, ""),
    ("closing", "refuse"): ("linger", 1, ""),
    ("closing", "reset"): ("linger", 1, ""),
    ("closing", "drain"): ("linger", 1, ""),
}


@pytest.mark.parametrize(("place", "event"), [(p, e) for p in PLACES for e in EVENTS])
def test_every_place_answers_every_event(place: str, event: str) -> None:
    make, reading, writing = PLACES[place]
    one = make()
    assert (one.wire.reading, one.wire.writing) == (reading, writing)
    EVENTS[event](one)
    lost = one.requests[0].lost if one.requests else ""
    assert (one.closed, len(one.refusals), lost) == OUTCOME[place, event]
    if one.closed or event == "lost":
        feed(one, NEXT)
        assert "GET /next 1.1" not in lines(one)


def test_half_a_close_is_told_and_the_answer_still_goes_out() -> None:
    one = due()
    one.wire.receive_eof()
    assert one.calls == ["half_closed"]
    answer(one)
    assert one.responses[0].body == b"ok\n"
    assert one.closed == "finish"


def test_a_refusal_after_a_head_request_has_its_body_again() -> None:
    one = wire(answering="at the end")
    feed(one, b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n")
    feed(one, b"nonsense\r\n\r\n")
    assert bytes(one.output).endswith(b"request line is not METHOD SP target SP HTTP/1.1\n")


def test_a_broken_body_of_a_head_request_is_refused_without_a_body() -> None:
    one = wire()
    feed(one, CHUNKED.replace(b"POST", b"HEAD") + b"x\r\n")
    assert one.refusals
    assert bytes(one.output).endswith(b"\r\n\r\n")


def test_draining_closes_after_the_next_answer() -> None:
    one = due()
    one.wire.drain()
    answer(one)
    assert (b"connection", b"close") in one.responses[0].headers
    assert one.closed == "finish"


def test_what_it_waits_for_is_told() -> None:
    assert idle().wire.idle
    assert not head_begun().wire.idle
    assert in_body().wire.awaits_body
    assert in_chunks().wire.awaits_body
    assert not due().wire.awaits_body
    waiting = wire()
    feed(waiting, EXPECT)
    assert not waiting.wire.awaits_body, "it waits for 100, which is ours to say"
    assert answered_in_body().wire.awaits_body


def test_an_idle_connection_can_be_closed() -> None:
    one = idle()
    one.wire.close_idle()
    assert one.closed == "linger"


def test_there_is_no_tunnel_to_accept() -> None:
    with pytest.raises(ResponseError):
        due().wire.accept_tunnel(1, [])
