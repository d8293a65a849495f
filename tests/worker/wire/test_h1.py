"""The reading half of an HTTP/1.1 connection: order, bounds, bodies nobody read, and every end."""

from __future__ import annotations

import pytest

from pounce.asgi import Header
from pounce.worker.wire.h1_head import HeadReader
from pounce.worker.wire.h1_request import Limits
from pounce.worker.wire.h1_tunnel import PIPELINE_HIGH
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


@both_readers
def test_a_short_head_right_behind_a_long_one_that_dripped_is_seen(reader: str) -> None:
    one = wire(reader, answering="at the end")
    long = GET[:-2] + b"X: " + b"y" * 200 + b"\r\n\r\n"
    feed(one, long[:-1])
    feed(one, long[-1:] + NEXT)
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


def test_an_application_hears_of_room_and_not_of_its_lack() -> None:
    one = wire()
    feed(one, GET)
    one.wire.set_congested(True)
    assert one.calls == []
    one.wire.set_congested(False)
    assert one.calls == ["resumed"]


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


class Counting:
    """A reader that notes how often it was asked."""

    def __init__(self, reader: HeadReader) -> None:
        self._reader = reader
        self.heads = 0

    def read(self, head: bytes) -> list[Header]:
        self.heads += 1
        return self._reader.read(head)


def test_fields_that_came_twice_in_a_row_are_not_read_again() -> None:
    reader = Counting(READERS["httptools"]())
    one = make_wire(reader)
    other = GET.replace(b"Host: a", b"Host: b")
    feed(make_wire(READERS["httptools"]()), GET + other)  # a Host never seen is looked at closely
    for heads, request in [(1, GET), (2, GET), (2, GET), (2, NEXT), (2, NEXT)]:
        feed(one, request)
        assert reader.heads == heads
    # What is known already does not break a row.
    for heads, request in [(3, other), (3, GET), (4, other), (4, other), (4, NEXT)]:
        feed(one, request)
        assert reader.heads == heads
    assert len(one.responses) == 10


@both_readers
@pytest.mark.parametrize(
    ("field", "body"),
    [
        (b"Content-Length: 5", b"abcde"),
        (b"Transfer-Encoding: chunked", b"5\r\nabcde\r\n0\r\n\r\n"),
        (b"Expect: 100-continue\r\nContent-Length: 5", b"abcde"),
        (b"X-Forwarded-For: 192.0.2.1", b""),
    ],
)
def test_fields_that_say_more_are_looked_at_each_time(
    reader: str, field: bytes, body: bytes
) -> None:
    one = wire(reader, answering="at the end")
    request = b"POST /a HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % field
    for _ in range(4):
        feed(one, request)
        if body:
            feed(one, body)
    assert [r.body for r in one.requests] == [b"abcde" if body else b""] * 4
    assert [r.head.forwarded for r in one.requests] == [not body] * 4
    assert bytes(one.output).count(CONTINUE) == (4 if b"Expect" in field else 0)
    assert not one.closed


def test_a_client_that_says_close_is_heard_though_others_said_the_same_before() -> None:
    reader = READERS["httptools"]()
    first = make_wire(reader)
    for number in range(3):
        one = make_wire(reader)
        one.wire._rules = first.wire._rules
        feed(one, CLOSE)
        assert one.closed == "finish", f"connection {number}"


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
def test_eight_empty_lines_before_a_request_are_a_few_and_nine_are_many(step: int) -> None:
    for count, refused in ((8, False), (9, True)):
        for before in (0, 1, 20):
            one = wire(answering="at the end")
            feed(one, GET * before, step)
            feed(one, b"\r\n" * count + GET, step)
            assert bool(one.refusals) is refused, "what the others before it left unused is lost"


@steps
def test_empty_lines_in_place_of_requests_are_refused(step: int) -> None:
    one = wire(answering="at the end")
    feed(one, GET + b"\r\n" * 100, step)
    assert one.refusals == [(400, "empty lines in place of a request")]
    assert len(one.output) < 1000


@pytest.mark.parametrize("data", [POST + b"abcde", CHUNKED + b"5\r\nabcde\r\n0\r\n\r\n"])
def test_bodies_do_not_add_up_to_the_limit(data: bytes) -> None:
    one = wire(answering="at the end", max_body_size=5)
    feed(one, data * 3)
    assert [response.status for response in one.responses] == [200] * 3
