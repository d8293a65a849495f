"""The checks of a request head by themselves: sizes, fields, targets, and what is hopeless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.asgi import Header
from pounce.worker.wire import h1_request
from pounce.worker.wire.h1_head import BLOCK_LIMIT, BLOCKS_LIMIT, Blocks, check_head
from pounce.worker.wire.h1_request import (
    CHUNKED,
    LONGEST_METHOD,
    LOST,
    NO_BODY,
    Facts,
    Limits,
    Refusal,
    check_fields,
    check_unfinished,
    quick_facts,
    split_target,
    with_host,
)
from tests.support.wire import READERS, feed, make_wire
from tests.worker.wire.test_h1 import both_readers

HOST: Header = (b"host", b"a.test")
LIMITS = Limits(max_target_size=100, max_field_size=150, max_head_size=400, max_headers=5)


def verdict(data: bytes, reader: str = "httptools", step: int = 1 << 30) -> int:
    """The status that the wire gives; 0 while it waits for more."""
    one = make_wire(READERS[reader](), limits=LIMITS)
    feed(one, data, step)
    return one.responses[-1].status if one.output else 0


# Sizes, one byte below and above


def head(
    *, target: int = 1, method: int = 3, field: int = 0, fields: int = 0, total: int = 0
) -> bytes:
    """A head with parts of these sizes; of `total` by fields that are within their limit."""
    data = b"%b /%b HTTP/1.1\r\nHost: a.test\r\n" % (b"M" * method, b"t" * (target - 1))
    if field:
        data += b"X: " + b"f" * (field - 3) + b"\r\n"
    data += b"X: y\r\n" * fields
    while total - len(data) - 2 > 0:
        size = min(100, total - len(data) - 2)
        data += b"X:" + b"f" * (size - 4) + b"\r\n"
    return data + b"\r\n"


@both_readers
@pytest.mark.parametrize("step", [1, 1 << 30])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(target=100), 200),
        (head(target=101), 414),
        (head(method=LONGEST_METHOD), 200),
        (head(method=LONGEST_METHOD + 1), 501),
        (head(method=LONGEST_METHOD + 1, target=101), 501),
        (head(method=LONGEST_METHOD + 1, target=1000), 501),
        (head(field=150), 200),
        (head(field=151), 431),
        (head(total=400), 200),
        (head(total=401), 431),
        (head(fields=4), 200),
        (head(fields=5), 431),
        (b"GET /" + b"t" * (100 + LONGEST_METHOD), 414),
        (b"M" * (101 + LONGEST_METHOD), 501),
        (b"M" * 200 + b"\r\n\r\n", 501),
        (b"GET /#" + b"t" * 200 + b"\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"f" * 400, 431),
    ],
)
def test_each_size_has_its_limit_and_its_status(
    data: bytes, status: int, step: int, reader: str
) -> None:
    assert verdict(data, reader, step) == status


# What is certain before the head is whole


@pytest.mark.parametrize("step", [1, 2, 1 << 30])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"EHLO mail.example\r\n", 400),
        (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
        (b"GET /\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"OPTIONS * RTSP/1.0\r\n", 400),
        (b"GET /#f HTTP/1.1\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n", 400),
        (b" GET / HTTP/1.1\r\n", 400),
        (b"\x16", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\rH", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\x00", 400),
        (b"GET / HTTP/1.1\r\nHost: a\x7f", 400),
    ],
)
def test_what_cannot_become_a_request_is_refused_at_once(
    data: bytes, status: int, step: int
) -> None:
    assert verdict(data[:-1], step=step) == 0
    assert verdict(data, step=step) == status


@pytest.mark.parametrize("step", [1, 3])
def test_a_good_head_in_the_making_is_waited_for(step: int) -> None:
    data = b"GET http://a.test/x?y=%20 HTTP/1.0\r\nHost: a.test\r\nX: \xe4\t\r\n"
    assert verdict(data, step=step) == 0
    assert verdict(data + b"\r\n", step=step) == 200


def test_a_dripped_head_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    hopeless = h1_request.HOPELESS

    class Counted:
        def search(self, data: bytes, at: int) -> object:
            nonlocal looked
            looked += len(data) - at
            return hopeless.search(data, at)

    monkeypatch.setattr(h1_request, "HOPELESS", Counted())
    data = b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000
    for size in range(1, len(data)):
        check_unfinished(data[:size], size - 1, Limits())
    assert len(data) - 1 <= looked <= 2 * len(data)


# Fields

CASES: list[tuple[list[Header], bool, Facts | int]] = [
    ([HOST], True, NO_BODY),
    ([], True, 400),
    ([], False, Facts(0, False, False, b"", False)),
    ([HOST, HOST], True, 400),
    ([HOST, HOST], False, 400),
    ([(b"host", b"")], True, NO_BODY),
    ([(b"host", b"a b")], True, 400),
    ([HOST, (b"content-length", b"5")], True, Facts(5, True, False, b"", False)),
    ([HOST, (b"content-length", b"5"), (b"content-length", b"5")], True, 400),
    ([HOST, (b"content-length", b"")], True, 400),
    ([HOST, (b"content-length", b"9" * 18)], True, Facts(10**18 - 1, True, False, b"", False)),
    ([HOST, (b"content-length", b"9" * 19)], True, 400),
    ([HOST, (b"transfer-encoding", b"Chunked")], True, Facts(CHUNKED, True, False, b"", False)),
    ([HOST, (b"transfer-encoding", b"chunked")], False, 400),
    ([HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"5")], True, 400),
    ([HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], True, 400),
    ([HOST, (b"transfer-encoding", b"gzip, chunked")], True, 501),
    ([HOST, (b"transfer-encoding", b"chunked, gzip")], True, 400),
    ([HOST, (b"transfer-encoding", b"gzip")], True, 501),
    ([HOST, (b"transfer-encoding", b"")], True, 400),
    ([HOST, (b"connection", b"close")], True, Facts(0, False, False, b"", False)),
    ([HOST, (b"connection", b"x, \tClose")], True, Facts(0, False, False, b"", False)),
    ([HOST, (b"connection", b"closed")], True, NO_BODY),
    ([HOST, (b"connection", b"Keep-Alive")], False, NO_BODY),
    ([HOST, (b"connection", b"keep-alive, close")], False, Facts(0, False, False, b"", False)),
    ([HOST, (b"expect", b"100-Continue")], True, Facts(0, True, True, b"", False)),
    ([HOST, (b"expect", b"100-continue")], False, Facts(0, False, False, b"", False)),
    ([HOST, (b"expect", b"magic")], True, 417),
    ([HOST, (b"expect", b"magic")], False, Facts(0, False, False, b"", False)),
    (
        [HOST, (b"upgrade", b"WebSocket"), (b"connection", b"x, Upgrade")],
        True,
        Facts(0, True, False, b"websocket", False),
    ),
    (
        [HOST, (b"upgrade", b"a"), (b"upgrade", b"b"), (b"connection", b"upgrade")],
        True,
        Facts(0, True, False, b"a,b", False),
    ),
    ([HOST, (b"upgrade", b"websocket")], True, NO_BODY),
    (
        [HOST, (b"upgrade", b"websocket"), (b"sec-websocket-key", b"")],
        True,
        NO_BODY._replace(upgrade=b"websocket"),
    ),
    (
        [HOST, (b"upgrade", b"websocket"), (b"connection", b"upgrade")],
        False,
        Facts(0, False, False, b"", False),
    ),
    ([HOST, (b"sec-websocket-key", b"")], True, NO_BODY._replace(upgrade=LOST)),
    (
        [HOST, (b"sec-websocket-key", b""), (b"connection", b"upgrade")],
        True,
        NO_BODY._replace(upgrade=LOST),
    ),
    (
        [HOST, (b"upgrade", b"websocket"), (b"sec-websocket-key", b"")],
        False,
        Facts(0, False, False, LOST, False),
    ),
    ([HOST, (b"x-forwarded-for", b"1.2.3.4")], True, Facts(0, True, False, b"", True)),
    ([HOST, (b"forwarded", b"for=x")], True, Facts(0, True, False, b"", True)),
    ([HOST, (b"x-forwarded", b"x")], True, NO_BODY),
]


@pytest.mark.parametrize(("headers", "http11", "expected"), CASES)
def test_fields_say_how_a_request_is_framed(
    headers: list[Header], http11: bool, expected: Facts | int
) -> None:
    try:
        assert check_fields(headers, http11=http11) == expected
    except Refusal as refusal:
        assert refusal.status == expected  # noqa: PT017  # one table for both outcomes


POOL = sorted({field for headers, http11, _ in CASES if http11 for field in headers})


@given(st.lists(st.sampled_from(POOL), max_size=5))
def test_the_quick_look_says_nothing_else_than_the_close_one(headers: list[Header]) -> None:
    quick = quick_facts(headers)
    try:
        closely = check_fields(headers, http11=True)
    except Refusal:
        assert quick is None
    else:
        assert quick in (None, closely)


def test_the_quick_look_is_enough_for_what_comes_with_most_requests() -> None:
    check_fields([HOST], http11=True)  # the host is known from here on
    keep: Header = (b"connection", b"keep-alive")
    assert quick_facts([HOST, keep, (b"x", b"y")]) is NO_BODY
    assert quick_facts([HOST, (b"content-length", b"5")]) == Facts(5, True, False, b"", False)


def test_the_memory_of_hosts_is_bounded_and_forgets_no_check() -> None:
    for number in range(1000):
        check_fields([(b"host", b"h%d.test" % number)], http11=True)
    assert len(h1_request._KNOWN_HOSTS) <= h1_request._KNOWN_HOSTS_LIMIT
    check_fields([(b"host", b"a" * 1000)], http11=True)
    assert b"a" * 1000 not in h1_request._KNOWN_HOSTS, "one client could fill it with megabytes"
    with pytest.raises(Refusal, match="Host is not"):
        check_fields([(b"host", b"a/b")], http11=True)


# Targets


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"GET", b"/a?b", (b"/a?b", b"")),
        (b"GET", b"//a", (b"//a", b"")),
        (b"OPTIONS", b"*", (b"*", b"")),
        (b"GET", b"*", 400),
        (b"GET", b"http://b.test/a?c", (b"/a?c", b"b.test")),
        (b"GET", b"HTTPS://b.test:8443?c", (b"/?c", b"b.test:8443")),
        (b"GET", b"http://b.test", (b"/", b"b.test")),
        (b"OPTIONS", b"http://b.test", (b"*", b"b.test")),
        (b"GET", b"http:///a", 400),
        (b"GET", b"http://u@b.test/", 400),
        (b"GET", b"ftp://b.test/", 400),
        (b"GET", b"b.test:80", 400),
        (b"GET", b"a", 400),
        (b"CONNECT", b"b.test:80", 501),
        (b"CONNECT", b"/", 501),
    ],
)
def test_targets_of_every_form(
    method: bytes, target: bytes, expected: tuple[bytes, bytes] | int
) -> None:
    try:
        assert split_target(target, method) == expected
    except Refusal as refusal:
        assert refusal.status == expected  # noqa: PT017  # one table for both outcomes


def test_the_authority_of_a_target_replaces_every_host() -> None:
    headers = [(b"x", b"y"), (b"host", b"a"), (b"z", b"")]
    assert with_host(headers, b"b") == [(b"host", b"b"), (b"x", b"y"), (b"z", b"")]


# Blocks of fields that came before


def test_the_memory_of_blocks_is_bounded() -> None:
    blocks = Blocks()
    for number in range(BLOCKS_LIMIT):
        blocks.add(b"%d" % number, [])
    assert blocks.get(b"0") == []
    blocks.add(b"one more", [HOST])
    assert blocks.get(b"0") is None
    assert blocks.get(b"one more") == [HOST]
    blocks.add(b"x" * (BLOCK_LIMIT + 1), [])
    assert blocks.get(b"x" * (BLOCK_LIMIT + 1)) is None


def test_a_block_is_remembered_as_it_was() -> None:
    blocks, headers = Blocks(), [HOST]
    blocks.add(b"block", headers)
    headers.clear()
    assert blocks.get(b"block") == [HOST]


@both_readers
def test_a_head_comes_in_parts(reader: str) -> None:
    data = b"PUT /a?b HTTP/1.0\r\nHost: a.test\r\nX-A: \t v \r\nContent-Length: 3\r\n\r\n"
    parts = check_head(data, READERS[reader](), Limits())
    assert parts == (
        b"PUT",
        b"/a?b",
        False,
        [HOST, (b"x-a", b"v"), (b"content-length", b"3")],
        Facts(3, False, False, b"", False),
    )
