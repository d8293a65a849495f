"""Request bodies on an HTTP/1.1 connection: taken, paused, unread, over the limit, expected."""

from __future__ import annotations

import pytest

from pounce.worker.wire.h1 import DISCARD_LIMIT
from pounce.worker.wire.h1_tunnel import BODY_HIGH, BODY_LOW
from tests.support.wire import feed
from tests.worker.wire.test_h1 import (
    CHUNKED,
    CONTINUE,
    EXPECT,
    GET,
    NEXT,
    POST,
    answer,
    both_readers,
    lines,
    steps,
    wire,
)


@both_readers
@steps
def test_a_body_comes_whole_and_the_next_request_after_it(reader: str, step: int) -> None:
    chunks = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: dropped\r\n\r\n"
    for data in (POST + b"abcde", CHUNKED + chunks):
        one = wire(reader, answering="at the end")
        feed(one, data + NEXT, step)
        assert [(request.body, request.ended) for request in one.requests] == [
            (b"abcde", True),
            (b"", True),
        ]
        assert b"x-trailer" not in dict(one.requests[0].head.headers)


def test_a_body_that_is_not_consumed_pauses_reading() -> None:
    one = wire(consuming=False)
    feed(one, POST.replace(b" 5", b" 1000000"))
    while not one.calls:
        feed(one, b"x" * 10_000)
    assert one.calls == ["pause"]
    taken = len(one.requests[0].body)
    assert BODY_HIGH < taken <= BODY_HIGH + 10_000
    one.wire.consumed(1, taken - BODY_LOW - 1)
    assert one.calls == ["pause"], "or each part taken would be a system call"
    one.wire.consumed(1, 1)
    assert one.calls == ["pause", "resume"]
    feed(one, b"x" * (BODY_HIGH - BODY_LOW))
    assert one.calls == ["pause", "resume"]
    feed(one, b"x")
    assert one.calls == ["pause", "resume", "pause"]


def test_a_small_body_that_nobody_read_is_dropped_and_the_connection_kept() -> None:
    for data in (POST + b"abcde", CHUNKED + b"5\r\nabcde\r\n0\r\n\r\n"):
        one = wire(answering="at the head")
        feed(one, data[:-2])
        assert len(one.responses) == 1
        feed(one, data[-2:] + NEXT)
        assert lines(one) == ["POST /a 1.1", "GET /next 1.1"]
        assert not one.closed


def test_a_large_body_that_nobody_read_closes_the_connection() -> None:
    one = wire(answering="at the head")
    feed(one, POST.replace(b" 5", b" %d" % (DISCARD_LIMIT + 1)))
    assert (b"connection", b"close") in one.responses[0].headers
    assert one.closed == "linger"


def test_just_as_much_as_is_worth_dropping_is_dropped() -> None:
    one = wire(answering="at the head")
    feed(one, POST.replace(b" 5", b" %d" % DISCARD_LIMIT))
    feed(one, b"x" * DISCARD_LIMIT + NEXT)
    assert lines(one) == ["POST /a 1.1", "GET /next 1.1"]


def test_a_chunked_body_that_nobody_reads_is_not_dropped_for_ever() -> None:
    one = wire(answering="at the head")
    feed(one, CHUNKED)
    for _ in range(DISCARD_LIMIT // 65536):
        assert not one.closed
        feed(one, b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert one.closed == "linger"


@pytest.mark.parametrize("data", [POST.replace(b" 5", b" 11"), CHUNKED + b"b\r\nabcdefghijk\r\n"])
def test_a_body_over_the_limit_is_refused(data: bytes) -> None:
    one = wire(max_body_size=10)
    feed(one, data)
    assert one.refusals == [(413, "request body over 10 bytes")]
    assert one.closed == "linger"


def test_a_body_that_nobody_read_does_not_weigh_on_the_requests_after_it() -> None:
    one = wire(consuming=False)
    feed(one, POST.replace(b" 5", b" %d" % (BODY_HIGH + 1)) + b"x" * (BODY_HIGH + 1))
    answer(one)
    feed(one, GET + NEXT)
    feed(one, NEXT)
    for _ in range(3):
        answer(one)
    assert one.calls == [], "a pause here would have no end"
    assert len(one.requests) == 4


def test_a_pause_ends_with_the_answer_that_did_not_need_the_body() -> None:
    one = wire(consuming=False)
    feed(one, POST.replace(b" 5", b" 200000") + b"x" * (BODY_HIGH + 1))
    assert one.calls == ["pause"]
    answer(one)
    assert one.calls == ["pause", "resume"]
    feed(one, b"x" * (200_000 - BODY_HIGH - 1) + NEXT)
    assert lines(one) == ["POST /a 1.1", "GET /next 1.1"]


def test_a_body_that_comes_whole_in_spite_of_a_pause_does_not_make_it_last() -> None:
    one = wire(consuming=False)
    feed(one, POST.replace(b" 5", b" 100000"))
    feed(one, b"x" * 70_000)
    feed(one, b"x" * 30_000)  # read from the socket before the pause
    assert one.calls == ["pause"]
    answer(one)
    assert one.calls == ["pause", "resume"]


def test_a_connection_that_lingers_reads_on_though_it_had_paused() -> None:
    one = wire(consuming=False)
    feed(one, POST.replace(b" 5", b" 1000000") + b"x" * (BODY_HIGH + 1))
    assert one.calls == ["pause"]
    answer(one)
    assert one.closed == "linger"
    assert one.calls == ["pause", "resume"], "or it would never see that the peer has closed"


# Expect


def test_100_is_said_when_the_application_first_wants_the_body_and_once() -> None:
    one = wire()
    feed(one, EXPECT)
    assert bytes(one.output) == b""
    one.wire.continue_body(1)
    one.wire.continue_body(1)
    assert bytes(one.output) == CONTINUE
    feed(one, b"abcde")
    answer(one)
    assert not one.closed


def test_an_answer_without_100_closes_since_the_body_may_come_or_not() -> None:
    one = wire(answering="at the head")
    feed(one, EXPECT)
    assert not bytes(one.output).startswith(CONTINUE)
    assert one.closed == "linger"


def test_a_client_that_did_not_wait_for_100_gets_none_and_keeps_its_connection() -> None:
    one = wire()
    feed(one, EXPECT + b"abcde")
    one.wire.continue_body(1)
    answer(one)
    assert not bytes(one.output).startswith(CONTINUE)
    assert not one.closed


def test_no_100_after_the_answer_has_begun() -> None:
    one = wire()
    feed(one, EXPECT)
    one.wire.send_head(1, 200, [(b"content-length", b"3")], b"", end=False)
    one.wire.continue_body(1)
    assert CONTINUE not in bytes(one.output)
