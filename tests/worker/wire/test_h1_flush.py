"""Parts of a response that leave together: what is held within a turn of the loop, how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pounce.worker.wire import ResponseError
from pounce.worker.wire.h1_output import HOLD_LIMIT, JOIN_LIMIT
from tests.support.wire import Recorder, feed
from tests.worker.wire.test_h1_output import REQUEST, due

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def collected(one: Recorder) -> list[bytes]:
    """The writes from here on, of a turn of the loop that does not end by itself."""
    writes: list[bytes] = []
    one.wire._write = writes.append
    one.flushing = False
    return writes


def test_parts_of_one_turn_leave_in_one_write() -> None:
    one = due()
    writes = collected(one)
    one.wire.send_head(1, 200, [], b"a", end=False)
    one.wire.send_data(1, b"b", end=False)
    assert writes == []
    assert one.calls == ["flush soon"]
    one.wire.flush()
    one.wire.flush()
    assert writes == [CHUNKED_HEAD + b"1\r\na\r\n1\r\nb\r\n"]
    one.wire.send_data(1, b"c", end=False)
    assert one.calls == ["flush soon"] * 2
    one.wire.send_data(1, b"d", end=True)
    assert writes[1:] == [b"1\r\nc\r\n1\r\nd\r\n0\r\n\r\n"]


def test_a_small_response_is_one_write_and_a_large_body_is_not_copied() -> None:
    one = due()
    writes = collected(one)
    one.wire.send_head(1, 200, [], b"x" * JOIN_LIMIT, end=True)
    assert len(writes) == 1
    feed(one, REQUEST % (b"GET", b"1"))
    body = b"x" * (JOIN_LIMIT + 1)
    one.wire.send_head(2, 200, [], body, end=True)
    assert len(writes) == 3
    assert writes[2] is body


def test_much_is_not_held_and_what_was_written_counts_no_more() -> None:
    one = due()
    writes = collected(one)
    one.wire.send_head(1, 200, [], b"", end=False)
    part = b"x" * (HOLD_LIMIT // 4)
    for _ in range(3):
        one.wire.send_data(1, part, end=False)
    assert writes == []
    one.wire.send_data(1, part, end=False)
    assert b"".join(writes).count(part) == 4, "the fourth is too much to hold"
    for _ in range(2):
        written = len(writes)
        for _ in range(3):
            one.wire.send_data(1, part, end=False)
        assert len(writes) == written
        one.wire.flush()
        assert len(writes) == written + 1


HELD: dict[str, tuple[Callable[[Recorder], object], bytes]] = {
    "trailers": (lambda one: one.wire.send_trailers(1, [], end=True), b"1\r\na\r\n0\r\n\r\n"),
    "the end": (lambda one: one.wire.send_data(1, b"", end=True), b"1\r\na\r\n0\r\n\r\n"),
    "a reset": (lambda one: one.wire.reset(1, 0), b"1\r\na\r\n"),
    "a lost peer": (lambda one: one.wire.lost("reset"), b""),
}


@pytest.mark.parametrize("what", HELD)
def test_what_is_held_goes_out_before(what: str) -> None:
    one = due()
    writes = collected(one)
    one.wire.send_head(1, 200, [], b"a", end=False)
    call, body = HELD[what]
    call(one)
    one.wire.flush()
    assert b"".join(writes) == (CHUNKED_HEAD + body if body else b"")


def test_what_is_held_goes_out_before_a_file_and_before_a_cut() -> None:
    for minor, size, words in ((b"1", 3, ""), (b"0", 3, ""), (b"1", 6, "longer")):
        one = due(minor=minor)
        writes = collected(one)
        headers = [(b"content-length", b"5")] if minor == b"1" else []
        one.wire.send_head(1, 200, headers, b"", end=False)
        if words:
            with pytest.raises(ResponseError, match=words):
                one.wire.sending_file(1, size)
        else:
            assert one.wire.sending_file(1, size)
        assert b"".join(writes).endswith(b"\r\n\r\n"), "the file comes behind the head"
