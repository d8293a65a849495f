"""What befalls an HTTP/1.1 connection from outside, at every place where it can be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pounce.worker.wire import ResponseError
from pounce.worker.wire.h1_states import Reading, Writing
from pounce.worker.wire.waiting import Waiting
from tests.support.wire import Recorder, feed
from tests.worker.wire.test_h1 import (
    CHUNKED,
    EXPECT,
    GET,
    NEXT,
    POST,
    answer,
    both_readers,
    lines,
    wire,
)

NONSENSE = b"nonsense\r\n\r\n"


def due(one: Recorder) -> None:
    feed(one, GET)


def answering(one: Recorder) -> None:
    feed(one, GET)
    answer(one, end=False, body=b"o")


def answered_in_body(one: Recorder) -> None:
    feed(one, POST + b"ab")
    answer(one)


def answered_in_chunks(one: Recorder) -> None:
    feed(one, CHUNKED + b"5\r\nab")
    answer(one)


def answering_in_body(one: Recorder) -> None:
    feed(one, POST + b"ab")
    answer(one, end=False, body=b"o")


def in_tunnel(one: Recorder) -> None:
    one.wire._rules.websockets = True
    feed(one, GET.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"))
    one.wire.accept_tunnel(1, [])


def held(one: Recorder) -> None:
    one.wire.set_congested(True)
    feed(one, NEXT)


PLACES: dict[str, tuple[Callable[[Recorder], None], Reading, Writing]] = {
    "idle": (lambda one: None, Reading.HEAD, Writing.IDLE),
    "head_begun": (lambda one: feed(one, GET[:10]), Reading.HEAD, Writing.IDLE),
    "held": (held, Reading.HEAD, Writing.IDLE),
    "in_body": (lambda one: feed(one, POST + b"ab"), Reading.FIXED, Writing.DUE),
    "in_chunks": (lambda one: feed(one, CHUNKED + b"5\r\nab"), Reading.CHUNKED, Writing.DUE),
    "due": (due, Reading.COMPLETE, Writing.DUE),
    "answering": (answering, Reading.COMPLETE, Writing.FIXED),
    "answering_in_body": (answering_in_body, Reading.FIXED, Writing.FIXED),
    "answered_in_body": (answered_in_body, Reading.FIXED, Writing.IDLE),
    "answered_in_chunks": (answered_in_chunks, Reading.CHUNKED, Writing.IDLE),
    "tunnel": (in_tunnel, Reading.TUNNEL, Writing.TUNNEL),
    "closing": (lambda one: feed(one, NONSENSE), Reading.IGNORED, Writing.IDLE),
}
EVENTS: dict[str, Callable[[Recorder], None]] = {
    "rest": lambda one: feed(one, b"cde" + NEXT),  # of the body, or bytes that are no request
    "request": lambda one: feed(one, NEXT),
    "eof": lambda one: one.wire.receive_eof(),
    "lost": lambda one: one.wire.lost("reset"),
    "refuse": lambda one: one.wire.refuse(408, "too slow"),
    "reset": lambda one: one.wire.reset(1, 0),
    "drain": lambda one: one.wire.drain(),
    "room": lambda one: one.wire.set_congested(False),
}

# What each event brings at each place; "-" is nothing. A status is a refusal, "gone" and "ended"
# are of the request that is open, "next" is that another was opened.
GRID = """
                    rest             request          eof
idle                next             next             finish
head_begun          400,linger       400,linger       400,finish
held                -                -                -
in_body             ended            ended            400,gone,finish
in_chunks           400,gone,linger  400,gone,linger  400,gone,finish
due                 -                -                half_closed
answering           -                -                half_closed
answering_in_body   ended            ended            gone,abort
answered_in_body    next             400,linger       finish
answered_in_chunks  linger           linger           finish
tunnel              -                -                ended
closing             -                -                -

                    lost  refuse           reset  drain  room
idle                -     408,linger       abort  -      -
head_begun          -     408,linger       abort  -      -
held                -     408,linger       abort  -      next
in_body             gone  408,gone,linger  abort  -      resumed
in_chunks           gone  408,gone,linger  abort  -      resumed
due                 gone  408,gone,linger  abort  -      resumed
answering           gone  gone,abort       abort  -      resumed
answering_in_body   gone  gone,abort       abort  -      resumed
answered_in_body    -     linger           abort  -      -
answered_in_chunks  -     linger           abort  -      -
tunnel              gone  gone,abort       abort  -      resumed
closing             -     -                -      -      -
"""


def cells() -> list[tuple[str, str, str]]:
    return [
        (row[0], event, outcome)
        for part in GRID.split("\n\n")
        for head, *rows in [[line.split() for line in part.strip().splitlines()]]
        for row in rows
        for event, outcome in zip(head, row[1:], strict=True)
    ]


def seen(one: Recorder) -> set[str]:
    """All that has happened so far, in the words of the grid."""
    facts = {str(status) for status, _ in one.refusals} | {*one.calls}
    facts |= {"gone" for request in one.requests if request.lost}
    bodies = [one for one in one.requests if one.head.has_body or one.head.tunnel]
    facts |= {"ended" for request in bodies if request.ended}
    facts |= {"next" for line in lines(one) if "/next" in line}
    return facts | ({one.closed} if one.closed else set())


def test_the_grid_leaves_no_pair_out() -> None:
    assert {(p, e) for p, e, _ in cells()} == {(p, e) for p in PLACES for e in EVENTS}
    assert {reading for _, reading, _ in PLACES.values()} == {*Reading}


@both_readers
@pytest.mark.parametrize(("place", "event", "outcome"), cells())
def test_every_place_answers_every_event(place: str, event: str, outcome: str, reader: str) -> None:
    bring, reading, writing = PLACES[place]
    one = wire(reader)
    bring(one)
    assert (one.wire.reading, one.wire.writing) == (reading, writing)
    before = seen(one)
    EVENTS[event](one)
    assert seen(one) - before == ({*outcome.split(",")} - {"-"}), (place, event)
    if one.closed or event == "lost":
        feed(one, NEXT)
        assert "GET /next 1.1" not in lines(one)
        assert one.wire.writing is Writing.IDLE


# The end of what the peer sends


def test_half_a_close_is_told_and_the_answer_still_goes_out() -> None:
    one = wire()
    feed(one, GET)
    one.wire.receive_eof()
    assert one.calls == ["half_closed"]
    answer(one)
    assert one.responses[0].body == b"ok\n"
    assert one.closed == "finish"


@both_readers
def test_what_came_whole_before_the_end_is_answered(reader: str) -> None:
    one = wire(reader)
    feed(one, GET + NEXT + NEXT)
    one.wire.receive_eof()
    for at in range(3):
        assert len(one.requests) == at + 1
        assert one.calls == ["half_closed"] * (at + 1), "each application is told"
        assert not one.closed
        answer(one)
    assert one.closed == "finish"


@both_readers
def test_what_was_held_for_a_slow_reader_is_answered_though_the_peer_has_ended(reader: str) -> None:
    one = wire(reader, answering="at the end")
    one.wire.set_congested(True)
    feed(one, GET + NEXT)
    one.wire.receive_eof()
    assert (one.closed, one.refusals) == ("", [])
    one.wire.set_congested(False)
    assert lines(one) == ["GET /a 1.1", "GET /next 1.1"]
    assert one.closed == "finish"


@pytest.mark.parametrize("behind", [NEXT[:-2], POST, POST + b"ab", CHUNKED + b"5\r\nab"])
def test_what_is_cut_behind_a_whole_request_is_refused_after_its_answer(behind: bytes) -> None:
    one = wire()
    feed(one, GET + behind)
    one.wire.receive_eof()
    answer(one)
    assert [status for status, _ in one.refusals] == [400]
    assert [response.status for response in one.responses] == [200, 400]
    assert one.closed == "finish", "nothing more can come, so there is nothing to wait for"


# What a refusal looks like


def test_a_refusal_after_a_head_request_has_its_body_again() -> None:
    one = wire(answering="at the end")
    feed(one, GET.replace(b"GET", b"HEAD"))
    feed(one, NONSENSE)
    assert bytes(one.output).endswith(b"request line is not METHOD SP target SP HTTP/1.1\n")


def test_a_broken_body_of_a_head_request_is_refused_without_a_body() -> None:
    one = wire()
    feed(one, CHUNKED.replace(b"POST", b"HEAD") + b"x\r\n")
    assert one.refusals
    assert bytes(one.output).endswith(b"\r\n\r\n")


def test_bytes_after_the_close_are_counted_and_go_nowhere() -> None:
    one = wire()
    feed(one, NONSENSE + NEXT)
    before = one.wire.body_bytes
    feed(one, NEXT)
    assert one.wire.body_bytes == before + len(NEXT), "a linger sees by it that the peer goes on"
    assert one.requests == []


# Draining and idling


def test_draining_closes_after_the_next_answer() -> None:
    one = wire()
    feed(one, GET)
    one.wire.drain()
    answer(one)
    assert (b"connection", b"close") in one.responses[0].headers
    assert one.closed == "finish"


def test_what_it_waits_for_is_told() -> None:
    def at(place: str) -> Recorder:
        one = wire()
        PLACES[place][0](one)
        return one

    assert [place for place in PLACES if at(place).wire.waits_for() is Waiting.FIRST_BYTE] == [
        "idle"
    ]
    assert [place for place in PLACES if at(place).wire.waits_for() is Waiting.BODY] == [
        "in_body",
        "in_chunks",
        "answering_in_body",
        "answered_in_body",
        "answered_in_chunks",
    ]
    waiting = wire()
    feed(waiting, EXPECT)
    assert waiting.wire.waits_for() is Waiting.APP, "it waits for 100, which is ours to say"


def test_an_idle_connection_can_be_closed() -> None:
    one = wire()
    one.wire.close_idle()
    assert one.closed == "linger"


def test_who_asked_for_no_tunnel_gets_none() -> None:
    one = wire()
    feed(one, GET)
    with pytest.raises(ResponseError):
        one.wire.accept_tunnel(1, [])
