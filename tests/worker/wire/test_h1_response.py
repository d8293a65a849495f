"""Response fields as lines: what is checked, what is meant for the server, what is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from pounce.asgi import Header
from pounce.worker.wire import ResponseError, h1_response
from pounce.worker.wire.h1_response import (
    OWN,
    STATUS_LINES,
    ResponseFields,
    field_line,
    known_length,
    known_line,
    learn_length,
    status_line,
    trailer_lines,
)


def meaning(*headers: Header) -> tuple[list[bytes], ResponseFields]:
    fields = ResponseFields()
    return [field_line(header, fields) for header in headers], fields


def test_known_statuses_have_their_phrase_and_others_none() -> None:
    assert status_line(200) == b"HTTP/1.1 200 OK\r\n"
    assert status_line(404) == b"HTTP/1.1 404 Not Found\r\n"
    assert status_line(299) == b"HTTP/1.1 299 \r\n"
    assert min(STATUS_LINES) == 200


@pytest.mark.parametrize("status", [199, 1000, -200, 200.0, "200", True, None])
def test_what_is_no_final_status_is_refused(status: Any) -> None:
    with pytest.raises(ResponseError, match="a response's is a number from 200 to 999"):
        status_line(status)


def test_a_field_keeps_its_spelling() -> None:
    lines, fields = meaning((b"X-One", b"a\tb \xe4"), (b"x-empty", b""))
    assert lines == [b"X-One: a\tb \xe4\r\n", b"x-empty: \r\n"]
    assert fields == ResponseFields()


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"ab", "not a pair of bytes"),  # two numbers
        (b"abc", "is not a pair of name and value"),
        (None, "is not a pair of name and value"),
        ((b"a",), "is not a pair of name and value"),
        (("a", b"b"), "not a pair of bytes"),
        ((b"a", "b"), "not a pair of bytes"),
        ((b"a", 1), "not a pair of bytes"),
        ((b"a", bytearray(b"b")), "not a pair of bytes"),
        ((b"", b"b"), "is not a token"),
        ((b"a b", b"c"), "is not a token"),
        ((b"a\r\n", b"c"), "is not a token"),
        ((b"a:", b"c"), "is not a token"),
        ((b"a", b"b\r\nc: d"), "holds a control byte"),
        ((b"a", b"b\n"), "holds a control byte"),
        ((b"a", b"\0"), "holds a control byte"),
        ((b"a", b"\x7f"), "holds a control byte"),
    ],
)
def test_what_is_no_field_is_refused_and_not_remembered(header: Any, text: str) -> None:
    for _ in range(2):
        with pytest.raises(ResponseError, match=text):
            field_line(header, ResponseFields())


# Fields that are about framing or the connection


@pytest.mark.parametrize("name", [b"content-length", b"Content-Length"])
def test_a_length_is_taken_out_of_the_fields(name: bytes) -> None:
    assert meaning((name, b" 5\t")) == ([b""], ResponseFields(length=5))


def test_two_lengths_are_refused_though_they_are_equal() -> None:
    with pytest.raises(ResponseError, match="given twice"):
        meaning((b"content-length", b"0"), (b"Content-Length", b"0"))


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1 1", b"0x1", b"1" * 19, b"1,1"])
def test_a_length_that_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(ResponseError, match="is not a decimal number"):
        meaning((b"content-length", value))
    assert learn_length((b"content-length", value)) is None


def test_chunked_is_ours_to_say_and_other_codings_cannot_be_had() -> None:
    assert meaning((b"Transfer-Encoding", b"Chunked ")) == ([b""], ResponseFields())
    with pytest.raises(ResponseError, match="framing is the server's"):
        meaning((b"transfer-encoding", b"gzip, chunked"))


@pytest.mark.parametrize(
    ("value", "close", "options"),
    [
        (b"close", True, b""),
        (b"CLOSE", True, b""),
        (b"keep-alive", False, b""),
        (b"", False, b""),
        (b"Upgrade", False, b", Upgrade"),
        (b"a,, Keep-Alive ,b, close", True, b", a, b"),
    ],
)
def test_options_of_the_connection(value: bytes, close: bool, options: bytes) -> None:
    lines, fields = meaning((b"Connection", value))
    assert lines == [b""]
    assert (fields.close, fields.options) == (close, options)


def test_date_and_server_may_be_the_applications_own() -> None:
    lines, fields = meaning((b"Date", b"now"), (b"SERVER", b"me"), (b"Keep-Alive", b"timeout=5"))
    assert lines == [b"Date: now\r\n", b"SERVER: me\r\n", b""]
    assert fields == ResponseFields(date=True, server=True)


# Memory


def test_a_plain_field_is_remembered_and_one_about_framing_never_is() -> None:
    plain: Header = (b"x-remembered", b"yes")
    meaning(plain)
    assert known_line(plain) == b"x-remembered: yes\r\n"
    for name in OWN:
        own: Header = (name, b"chunked" if name == b"transfer-encoding" else b"5")
        meaning(own)
        assert known_line(own) is None, f"{name!r} would pass unread the second time"


def test_long_values_are_not_remembered_and_the_memory_is_bounded() -> None:
    long: Header = (b"set-cookie", b"x" * 129)
    meaning(long)
    assert known_line(long) is None
    for number in range(2000):
        meaning((b"x-number", b"%d" % number))
    assert known_line((b"x-number", b"1999")) is not None
    assert known_line((b"x-number", b"0")) is None
    assert len(h1_response._LINES) <= h1_response._LINES_LIMIT


def test_lengths_are_remembered_within_a_bound_and_as_they_were_written() -> None:
    assert learn_length((b"content-length", b"007")) == (7, b"content-length: 007\r\n")
    assert known_length((b"content-length", b"007")) == (7, b"content-length: 007\r\n")
    assert learn_length((b"Content-Length", b"7")) is None
    assert learn_length((b"x", b"7")) is None
    for number in range(2000):
        assert learn_length((b"content-length", b"%d" % number)) is not None
    assert known_length((b"content-length", b"1999")) == (1999, b"content-length: 1999\r\n")
    assert len(h1_response._LENGTHS) <= h1_response._LINES_LIMIT


@pytest.mark.parametrize("value", ["3", 3, None, bytearray(b"3"), b" 3", b"+3", b""])
def test_only_a_length_as_it_is_spelled_usually_is_learned(value: Any) -> None:
    assert learn_length((b"content-length", value)) is None
    assert learn_length((b"content-length", b"3")) == (3, b"content-length: 3\r\n")


# Trailers


def test_trailers_are_lines_of_their_own() -> None:
    assert trailer_lines([(b"X-Sum", b"1"), [b"y", b""]]) == b"X-Sum: 1\r\ny: \r\n"  # type: ignore[list-item]  # lists come from JSON
    assert trailer_lines([]) == b""


@pytest.mark.parametrize("name", sorted(OWN))
def test_no_trailer_is_about_framing(name: bytes) -> None:
    value = b"chunked" if name == b"transfer-encoding" else b"5"
    for spelled in (name, name.title()):
        with pytest.raises(ResponseError, match="may not be a trailer"):
            trailer_lines([(spelled, value)])
