"""The reading half of an HTTP/1.1 connection: order, bounds, bodies nobody read, and every end."""

from __future__ import annotations

import pytest

from pounce.worker.wire.h1 import BODY_HIGH, DISCARD_LIMIT, PIPELINE_HIGH
from pounce.worker.wire.h1_request import Limits
from tests.support.wire import READERS, Recorder, feed, make_wire

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OLD = b"GET /a HTTP/1.0\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECT = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

both_readers = pytest.mark.parametrize("reader", READERS)
steps = pytest.mark.parametrize("step", [1, 7, 10_000], ids="bytes at a time: {}".format)


def wire(
    reader: str = "httptools", *, answering: str = "never", consuming: bool = True, **limits: int
) -> Recorder:
    one = make_wire(READERS[reader](), answering=answering, limits=Limits(**limits))
    one.consuming = consuming
    return one


def answer(recorder: Recorder, *, end: bool = True, body: bytes = b"ok\n") -> None:
    stream = len(recorder.requests)
    recorder.wire.send_head(stream, 200, [(b"content-length", b"3")], body, end=end)


def lines(recorder: Recorder) -> list[str]:
    return [request.line for request in recorder.requests]


# Order


@both_readers
@steps
def test_a_pipelined_request_waits_for_the_response_before_it(reader: str, step: int) -> None:
    one = wire(reader)
    feed(one, GET + NEXT, step)
    assert lines(one) == ["GET /a 1.1"]
    answer(one)
    assert lines(one) == ["GET /a 1.1", "GET /next 1.1"]


def test_two_thousand_pipelined_requests_are_answered_in_order_without_deep_recursion() -> None:
    one = wire(answering="at the end")
    feed(one, b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % at for at in range(2000)))
    assert lines(one) == [f"GET /{at} 1.1" for at in range(2000)]
    assert len(one.responses) == 2000


@both_readers
@pytest.mark.parametrize("first", [CLOSE, OLD])
def test_nothing_is_read_after_the_last_request(reader: str, first: bytes) -> None:
    one = wire(reader, answering="at the end")
    feed(one, first + NEXT)
    assert lines(one) == [f"GET /a 1.{'0' if first is OLD else '1'}"]
    assert one.closed == "linger", "what is unread would turn the close into a reset"


@pytest.mark.parametrize("first", [CLOSE, OLD])
def test_the_last_answer_closes_at_once_where_nothing_is_unread(first: bytes) -> None:
    one = wire(answering="at the end")
    feed(one, first)
    assert one.closed == "finish"


def test_pipelined_requests_are_held_up_to_a_bound_and_reading_pauses() -> None:
    one = wire()
    feed(one, GET)
    held = b""
    while not one.calls:
        feed(one, NEXT)
        held += NEXT
    assert one.calls == ["pause"]
    assert PIPELINE_HIGH < len(held) <= PIPELINE_HIGH + len(NEXT)
    one.answering = "at the end"
    answer(one)
    assert one.calls == ["pause", "resume"]
    assert len(one.requests) == 1 + len(held) // len(NEXT)


def test_a_request_is_not_begun_while_the_client_does_not_read_the_answers() -> None:
    one = wire(answering="at the end")
    one.wire.set_congested(True)
    feed(one, GET)
    feed(one, NEXT)
    assert one.requests == []
    one.wire.set_congested(False)
    assert lines(one) == ["GET /a 1.1", "GET /next 1.1"]


def test_requests_that_wait_for_a_client_to_read_are_bounded() -> None:
    one = wire(answering="at the end")
    one.wire.set_congested(True)
    sent = 0
    while not one.calls:
        feed(one, NEXT)
        sent += 1
    assert sent * len(NEXT) <= PIPELINE_HIGH + len(NEXT)
    one.wire.set_congested(False)
    assert one.calls == ["pause", "resume"]
    assert len(one.requests) == sent


def test_a_connection_ends_after_so_many_requests() -> None:
    for reader in READERS.values():
        one = make_wire(reader(), max_requests=2)
        feed(one, GET + GET + GET)
        assert len(one.requests) == 2
        closes = [(b"connection", b"close") in response.headers for response in one.responses]
        assert closes == [False, True]
        assert one.closed == "linger"


# Blocks of fields that came before


@both_readers
def test_a_request_that_repeats_its_fields_is_read_as_the_first_was(reader: str) -> None:
    fields = b"Host: a\r\nX-One: 1\r\nX-Two: \t2 \r\nCookie: c\r\nCookie: d\r\n\r\n"
    one = wire(reader, answering="at the end")
    for at in range(5):
        feed(one, b"%s /%d?q HTTP/1.1\r\n%b" % (b"PUT" if at % 2 else b"BREW", at, fields))
    heads = [request.head for request in one.requests]
    assert [head.method for head in heads] == ["BREW", "PUT", "BREW", "PUT", "BREW"]
    assert [head.target for head in heads] == [b"/%d?q" % at for at in range(5)]
    assert all(head.headers == heads[0].headers for head in heads)
    assert len({id(head.headers) for head in heads}) == 5, "each application owns its list"


def test_fields_seen_before_do_not_let_another_line_pass() -> None:
    fields = b"\r\nHost: a\r\nX: 1\r\n\r\n"
    for line, status in [
        (b"GET /a HTTP/1.2", 505),
        (b"GET http://b/a HTTP/1.1", 200),
        (b"CONNECT /a HTTP/1.1", 501),
        (b"GET /a#f HTTP/1.1", 400),
        (b"GET  /a HTTP/1.1", 400),
        (b"X" * 33 + b" /a HTTP/1.1", 501),
        (b"GET /" + b"a" * 100 + b" HTTP/1.1", 414),
    ]:
        one = wire(answering="at the end", max_target_size=100)
        for _ in range(3):
            feed(one, b"GET /a HTTP/1.1" + fields)
        feed(one, line + fields)
        assert one.responses[-1].status == status, line


def test_after_a_request_of_http_1_0_the_fields_of_1_1_are_still_1_1() -> None:
    one = wire(answering="at the end")
    fields = b"\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    for version in (b"1.1", b"1.1", b"1.1", b"1.0", b"1.1"):
        feed(one, b"GET /a HTTP/" + version + fields)
    assert [request.head.version for request in one.requests] == ["1.1", "1.1", "1.1", "1.0", "1.1"]


# Bodies


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
    one.wire.consumed(1, taken)
    assert one.calls == ["pause", "resume"]


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


# Empty lines


@both_readers
@steps
def test_a_few_empty_lines_before_each_request_are_passed_over(reader: str, step: int) -> None:
    one = wire(reader, answering="at the end")
    for _ in range(20):
        feed(one, b"\r\n\r\n", step)
        feed(one, GET, step)
    assert len(one.requests) == 20
    assert one.refusals == []


@steps
def test_empty_lines_in_place_of_requests_are_refused(step: int) -> None:
    one = wire(answering="at the end")
    feed(one, GET + b"\r\n" * 100, step)
    assert one.refusals == [(400, "empty lines in place of a request")]
    assert len(one.output) < 1000


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
