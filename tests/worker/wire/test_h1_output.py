"""The writing half: framing by status, method and version, and what an application gets wrong."""

from __future__ import annotations

from typing import Any

import pytest

from pounce.worker.wire import ResponseError
from pounce.worker.wire.h1_output import HOLD_LIMIT, JOIN_LIMIT
from pounce.worker.wire.h1_states import Writing
from tests.support.wire import READERS, Recorder, feed, make_wire

REQUEST = b"%b /a HTTP/1.%b\r\nHost: a\r\n\r\n"


def due(
    method: bytes = b"GET", minor: bytes = b"1", *, more: bytes = b"", websockets: bool = False
) -> Recorder:
    one = make_wire(READERS["httptools"](), answering="never", websockets=websockets)
    one.wire._rules.server_line = one.wire._rules.common = b""
    feed(one, REQUEST.replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n") % (method, minor))
    return one


def respond(
    one: Recorder, status: int = 200, headers: Any = (), body: bytes = b"", **more: bool
) -> bytes:
    one.wire.send_head(1, status, list(headers), body, **{"end": True, **more})
    return bytes(one.output)


def head_of(output: bytes) -> list[bytes]:
    return output.partition(b"\r\n\r\n")[0].split(b"\r\n")


# Framing


def test_a_whole_body_gets_its_length() -> None:
    assert respond(due(), body=b"hello") == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def test_a_body_in_parts_is_chunked() -> None:
    one = due()
    respond(one, body=b"ab", end=False)
    one.wire.send_data(1, b"", end=False)
    one.wire.send_data(1, b"c" * 26, end=False)
    one.wire.send_data(1, b"de", end=True)
    assert bytes(one.output) == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n1a\r\n" + b"c" * 26 + b"\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert not one.closed


def test_an_empty_last_part_ends_the_chunks() -> None:
    one = due()
    respond(one, end=False)
    one.wire.send_data(1, b"", end=True)
    assert bytes(one.output).endswith(b"\r\n\r\n0\r\n\r\n")


def test_http_1_0_gets_no_chunks_but_a_close() -> None:
    one = due(minor=b"0", more=b"Connection: keep-alive\r\n")
    respond(one, body=b"ab", end=False)
    one.wire.send_data(1, b"cd", end=True)
    assert bytes(one.output) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabcd"
    assert one.closed == "finish"


def test_http_1_0_may_keep_its_connection_where_the_length_is_known() -> None:
    one = due(minor=b"0", more=b"Connection: keep-alive\r\n")
    assert b"connection: keep-alive" in head_of(respond(one, body=b"ab"))
    assert not one.closed


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("end", [True, False])
def test_some_statuses_have_no_body(status: int, end: bool) -> None:
    one = due()
    respond(one, status, [(b"content-length", b"5")], b"hello" if end else b"", end=end)
    if not end:
        one.wire.send_data(1, b"hello", end=True)
    head = head_of(bytes(one.output))
    assert bytes(one.output).endswith(b"\r\n\r\n")
    assert (b"content-length: 5" in head) is (status == 304)
    assert not any(line.startswith(b"transfer-encoding") for line in head)
    assert not one.closed


def test_a_head_request_keeps_the_length_and_loses_the_body() -> None:
    one = due(b"HEAD")
    assert respond(one, headers=[(b"content-length", b"5")], body=b"hello") == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    )


def test_a_head_request_is_told_the_length_that_is_known() -> None:
    for minor in (b"1", b"0"):
        answered = respond(due(b"HEAD", minor), body=b"hello")
        assert b"content-length: 5" in head_of(answered)
        assert answered.endswith(b"\r\n\r\n")
    explicit = respond(due(b"HEAD"), headers=[(b"content-length", b"7")], body=b"hello")
    assert head_of(explicit)[1:] == [b"content-length: 7"]


def test_a_head_request_is_told_no_length_where_none_is_known() -> None:
    assert respond(due(b"HEAD")) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert b"content-length" not in respond(due(b"HEAD"), body=b"hel", end=False)
    for status in (204, 304):
        assert b"content-length" not in respond(due(b"HEAD"), status, body=b"hello")
        assert b"content-length" not in respond(due(), status, body=b"hello")


def test_large_bodies_are_not_copied_and_come_out_the_same() -> None:
    body = b"x" * (JOIN_LIMIT + 1)
    assert respond(due(), body=body).endswith(b"\r\n\r\n" + body)
    one = due()
    respond(one, body=body, end=False)
    one.wire.send_data(1, b"y" * (HOLD_LIMIT + 1), end=True)
    assert bytes(one.output).endswith(b"y\r\n0\r\n\r\n")
    assert body in bytes(one.output)


# Fields


def test_server_and_date_are_ours_unless_the_application_has_its_own() -> None:
    one = due()
    one.wire._rules.server_line = b"server: pounce\r\n"
    one.wire._rules.set_date(b"Tue, 15 Nov 1994 08:12:31 GMT")
    head = head_of(respond(one, headers=[(b"Server", b"mine")]))
    assert b"Server: mine" in head
    assert b"server: pounce" not in head
    assert b"date: Tue, 15 Nov 1994 08:12:31 GMT" in head
    two = due()
    two.wire._rules.set_date(b"Tue, 15 Nov 1994 08:12:31 GMT")
    assert [
        line for line in head_of(respond(two, headers=[(b"date", b"now")])) if b"ate" in line
    ] == [b"date: now"]


def test_server_and_date_are_in_every_response() -> None:
    one = make_wire(READERS["httptools"](), answering="never")
    one.wire._rules.set_date(b"Tue, 15 Nov 1994 08:12:31 GMT")
    feed(one, REQUEST % (b"GET", b"1"))
    ours = [b"date: Tue, 15 Nov 1994 08:12:31 GMT", b"server: pounce"]
    assert head_of(respond(one))[1:3] == ours
    two = make_wire(READERS["httptools"](), answering="never")
    two.wire._rules.set_date(b"Tue, 15 Nov 1994 08:12:31 GMT")
    feed(two, REQUEST % (b"GET", b"1"))
    # a field of the server's own kind, so that each line is looked at by itself
    assert head_of(respond(two, headers=[(b"keep-alive", b"x")]))[1:3] == ours
    assert head_of(respond(due()))[1:] == [b"content-length: 0"]


def test_a_length_counts_wherever_it_stands() -> None:
    length = (b"Content-Length", b"5")
    for headers in ([(b"date", b"now"), length], [length, (b"date", b"now")]):
        one = due()
        respond(one, headers=headers, body=b"he", end=False)
        one.wire.send_data(1, b"llo", end=True)
        head = head_of(bytes(one.output))
        assert b"content-length: 5" in head
        assert len(head) == 3
        assert bytes(one.output).endswith(b"\r\n\r\nhello")


def test_a_length_of_nothing_is_one() -> None:
    nothing = [(b"content-length", b"0")]
    assert b"content-length: 0" in head_of(respond(due(b"HEAD"), headers=nothing))
    with pytest.raises(ResponseError, match="body is 1 bytes, content-length 0"):
        respond(due(), headers=nothing, body=b"x")
    one = due()
    respond(one, headers=nothing, end=False)
    assert one.wire.writing is Writing.FIXED


def test_connection_is_ours_but_for_close_and_foreign_options() -> None:
    one = due()
    headers = [(b"Connection", b"keep-alive, Upgrade, close"), (b"keep-alive", b"timeout=9")]
    head = head_of(respond(one, headers=headers))
    assert head[1:] == [b"connection: Upgrade", b"connection: close", b"content-length: 0"] or head[
        1:
    ] == [b"connection: Upgrade", b"content-length: 0", b"connection: close"]
    assert one.closed == "finish"


def test_transfer_encoding_is_ours() -> None:
    head = head_of(respond(due(), headers=[(b"transfer-encoding", b"chunked")], body=b"x"))
    assert head[1:] == [b"content-length: 1"]


def test_fields_may_be_lists_and_repeated() -> None:
    for _ in range(2):  # the second time from memory
        head = head_of(respond(due(), headers=[[b"set-cookie", b"a"], (b"set-cookie", b"b")]))
        assert head[1:3] == [b"set-cookie: a", b"set-cookie: b"]


BAD_FIELDS = {
    "CRLF": (b"x", b"a\r\nb: c"),
    "LF": (b"x", b"a\nb: c"),
    "CR": (b"x", b"a\rb"),
    "NUL": (b"x", b"a\0"),
    "DEL": (b"x", b"a\x7f"),
    "CRLF in the name": (b"x\r\ny", b"a"),
    "space in the name": (b"x y", b"a"),
    "colon in the name": (b"x:", b"a"),
    "empty name": (b"", b"a"),
    "8-bit name": ("ü".encode(), b"a"),
    "text": ("x", "a"),
    "number": (b"content-length", 5),
    "three": (b"a", b"b", b"c"),
    "no pair": b"ab",
    "negative length": (b"content-length", b"-1"),
    "no number": (b"content-length", b"5 5"),
    "huge length": (b"content-length", b"1" * 5000),
    "coding": (b"transfer-encoding", b"gzip"),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_bad_field_is_the_applications_error_and_never_on_the_wire(name: str) -> None:
    one = due()
    with pytest.raises((ResponseError, TypeError, ValueError)):
        respond(one, headers=[(b"content-type", b"a"), BAD_FIELDS[name]])
    assert bytes(one.output) == b""
    assert one.wire.writing is Writing.DUE
    assert b"500" in respond(one, 500)


def test_two_lengths_are_refused() -> None:
    one = due()
    length = (b"content-length", b"5")
    with pytest.raises(ResponseError, match="given twice"):
        respond(one, headers=[length, length], body=b"hello")


@pytest.mark.parametrize("status", [100, 101, 103, 199, 0, 1000, "200", None, True])
def test_a_status_that_is_none_is_refused(status: Any) -> None:
    one = due()
    with pytest.raises(ResponseError, match="status is"):
        respond(one, status)
    assert bytes(one.output) == b""


@pytest.mark.parametrize(
    ("status", "line"), [(599, b"HTTP/1.1 599 "), (418, b"HTTP/1.1 418 I'm a")]
)
def test_any_final_status_can_be_sent(status: int, line: bytes) -> None:
    assert respond(due(), status).startswith(line)


# Length and body that differ


@pytest.mark.parametrize("body", [b"hell", b"hello!"])
def test_a_whole_body_of_another_length_is_refused_before_anything_is_out(body: bytes) -> None:
    one = due()
    with pytest.raises(ResponseError, match="content-length 5"):
        respond(one, headers=[(b"content-length", b"5")], body=body)
    assert bytes(one.output) == b""
    assert one.wire.writing is Writing.DUE


@pytest.mark.parametrize(("last", "text"), [(b"lo!", "1 bytes longer"), (b"l", "1 bytes shorter")])
def test_a_streamed_body_of_another_length_cuts_the_connection(last: bytes, text: str) -> None:
    one = due()
    respond(one, headers=[(b"content-length", b"5")], body=b"hel", end=False)
    with pytest.raises(ResponseError, match=text):
        one.wire.send_data(1, last, end=True)
    assert one.closed == "finish"
    assert bytes(one.output).partition(b"\r\n\r\n")[2] in (b"hel", b"hell")
    feed(one, REQUEST % (b"GET", b"1"))
    assert len(one.requests) == 1


# Trailers, informational responses, files


def test_trailers_follow_the_last_chunk() -> None:
    one = due()
    respond(one, body=b"a", end=False)
    one.wire.send_trailers(1, [(b"x-sum", b"1")], end=False)
    one.wire.send_trailers(1, [(b"x-more", b"2")], end=True)
    assert bytes(one.output).endswith(b"1\r\na\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n")
    assert one.wire.writing is Writing.IDLE


def test_trailers_are_dropped_where_there_are_no_chunks() -> None:
    one = due()
    respond(one, headers=[(b"content-length", b"1")], body=b"a", end=False)
    one.wire.send_trailers(1, [(b"x-sum", b"1")], end=False)
    one.wire.send_trailers(1, [(b"x-sum", b"1")], end=True)
    assert bytes(one.output).endswith(b"\r\n\r\na")
    assert one.wire.writing is Writing.IDLE


@pytest.mark.parametrize("field", [(b"content-length", b"1"), (b"date", b"x"), (b"x", b"a\r\nb")])
def test_a_trailer_that_may_not_be_one_is_refused_and_leaves_nothing_behind(
    field: tuple[bytes, bytes],
) -> None:
    one = due()
    respond(one, body=b"a", end=False)
    for end in (False, True):
        with pytest.raises(ResponseError):
            one.wire.send_trailers(1, [(b"b", b"1"), field], end=end)
    one.wire.send_trailers(1, [(b"c", b"2")], end=True)
    assert bytes(one.output).endswith(b"1\r\na\r\n0\r\nc: 2\r\n\r\n")


def test_hints_go_before_the_head_and_not_to_http_1_0() -> None:
    one = due()
    one.wire.inform(1, 103, [(b"link", b"</a>")])
    assert bytes(one.output) == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    old = due(minor=b"0")
    old.wire.inform(1, 103, [(b"link", b"</a>")])
    assert bytes(old.output) == b""


def test_a_file_is_taken_only_where_its_bytes_are_the_body() -> None:
    sized = due()
    respond(sized, headers=[(b"content-length", b"5")], end=False)
    assert sized.wire.sending_file(1, 3)
    assert sized.wire.sending_file(1, 2)
    sized.wire.send_data(1, b"", end=True)
    assert not sized.closed
    chunked = due()
    respond(chunked, end=False)
    assert not chunked.wire.sending_file(1, 3)
    old = due(minor=b"0")
    respond(old, end=False)
    assert old.wire.sending_file(1, 3)
    nothing = due(b"HEAD")
    respond(nothing, headers=[(b"content-length", b"5")], end=False)
    assert not nothing.wire.sending_file(1, 5)


def test_a_file_longer_than_the_length_is_refused() -> None:
    one = due()
    respond(one, headers=[(b"content-length", b"5")], end=False)
    with pytest.raises(ResponseError, match="file is 1 bytes longer"):
        one.wire.sending_file(1, 6)
    assert one.closed == "finish"
