"""Every state of a response with every call down: what is written, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pounce.worker.wire import ResponseError
from pounce.worker.wire.h1_states import Writing
from tests.support.wire import Recorder, feed
from tests.worker.wire.test_h1_output import REQUEST, due, respond

PLACES: dict[Writing, tuple[bytes, bytes, bytes, bool | None]] = {
    # method, minor version, content-length, and the `end` of the head; None: no head yet
    Writing.IDLE: (b"GET", b"1", b"", True),
    Writing.DUE: (b"GET", b"1", b"", None),
    Writing.FIXED: (b"GET", b"1", b"5", False),
    Writing.CHUNKED: (b"GET", b"1", b"", False),
    Writing.TRAILERS: (b"GET", b"1", b"", False),
    Writing.UNTIL_CLOSE: (b"GET", b"0", b"", False),
    Writing.TUNNEL: (b"GET", b"1", b"", None),
    Writing.BODILESS: (b"HEAD", b"1", b"", False),
}
CALLS: dict[str, Callable[[Recorder], object]] = {
    "head": lambda one: one.wire.send_head(1, 200, [], b"", end=True),
    "part": lambda one: one.wire.send_data(1, b"hel", end=False),
    "whole": lambda one: one.wire.send_data(1, b"hello", end=True),
    "short": lambda one: one.wire.send_data(1, b"hell", end=True),
    "long": lambda one: one.wire.send_data(1, b"hello!", end=False),
    "nothing": lambda one: one.wire.send_data(1, b"", end=True),
    "trailer": lambda one: one.wire.send_trailers(1, [(b"a", b"b")], end=False),
    "trailers": lambda one: one.wire.send_trailers(1, [(b"a", b"b")], end=True),
    "hint": lambda one: one.wire.inform(1, 103, [(b"a", b"b")]),
    "continue": lambda one: one.wire.continue_body(1),
    "file": lambda one: one.wire.sending_file(1, 5),
    "longfile": lambda one: one.wire.sending_file(1, 6),
    "flush": lambda one: one.wire.flush(),
}

# What is written (of the body: its words; "0" is the last chunk), what a file is told, "error",
# "cut" where the connection is closed, and the state after it where it is another.
GRID = """
             head       part   whole           short           long
idle         error      error  error           error           error
due          head,idle  error  error           error           error
fixed        error      hel    hello,idle      error,hell,cut  error,cut
chunked      error      hel    hello,0,idle    hell,0,idle     hello!
trailers     error      error  error           error           error
until_close  error      hel    hello,cut,idle  hell,cut,idle   hello!
tunnel       error      hel    hello,cut,idle  hell,cut,idle   hello!
bodiless     error      -      idle            idle            -

             nothing    trailer              trailers         hint   continue
idle         error      error                error            error  -
due          error      error                error            hint   -
fixed        error,cut  -                    error,cut        error  -
chunked      0,idle     0,trailer,trailers   0,trailers,idle  error  -
trailers     error      trailer              trailers,idle    error  -
until_close  cut,idle   -                    cut,idle         error  -
tunnel       cut,idle   -                    cut,idle         error  -
bodiless     idle       -                    idle             error  -

             file      longfile   flush
idle         declined  declined   -
due          declined  declined   -
fixed        taken     error,cut  -
chunked      declined  declined   -
trailers     declined  declined   -
until_close  taken     taken      -
tunnel       declined  declined   -
bodiless     declined  declined   -
"""
WRITTEN = {
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n": "head",
    b"HTTP/1.1 103 Early Hints\r\na: b\r\n\r\n": "hint",
    b"3\r\nhel\r\n": "hel",
    b"4\r\nhell\r\n0\r\n\r\n": "hell,0",
    b"5\r\nhello\r\n0\r\n\r\n": "hello,0",
    b"6\r\nhello!\r\n": "hello!",
    b"0\r\n\r\n": "0",
    b"0\r\na: b\r\n": "0,trailer",
    b"0\r\na: b\r\n\r\n": "0,trailers",
    b"a: b\r\n": "trailer",
    b"a: b\r\n\r\n": "trailers",
}


def cells() -> list[tuple[Writing, str, str]]:
    return [
        (Writing[row[0].upper()], call, outcome)
        for part in GRID.split("\n\n")
        for head, *rows in [[line.split() for line in part.strip().splitlines()]]
        for row in rows
        for call, outcome in zip(head, row[1:], strict=True)
    ]


def at(writing: Writing) -> Recorder:
    method, minor, length, end = PLACES[writing]
    if writing is Writing.TUNNEL:
        one = due(more=b"Upgrade: websocket\r\nConnection: upgrade\r\n", websockets=True)
        one.wire.accept_tunnel(1, [])
    else:
        one = due(method, minor)
    if end is not None:
        respond(one, headers=[(b"content-length", length)] if length else [], end=end)
    if writing is Writing.TRAILERS:
        one.wire.send_trailers(1, [], end=False)
    assert one.wire.writing is writing
    return one


def test_the_grid_leaves_no_pair_out() -> None:
    assert {(w, c) for w, c, _ in cells()} == {(w, c) for w in Writing for c in CALLS}


@pytest.mark.parametrize(("writing", "call", "outcome"), cells())
def test_every_state_answers_every_call(writing: Writing, call: str, outcome: str) -> None:
    one = at(writing)
    before = len(one.output)
    words: list[str] = []
    try:
        answer = CALLS[call](one)
    except ResponseError:
        words.append("error")
    else:
        words += [] if answer is None else ["taken" if answer else "declined"]
    written = bytes(one.output)[before:]
    words += [WRITTEN.get(written, written.decode())] if written else []
    words += ["cut"] if one.closed else []
    if one.wire.writing is not writing and words[:1] != ["error"]:
        words.append(one.wire.writing.name.lower())
    assert ",".join(words or ["-"]) == outcome
    if "cut" in words:
        assert one.wire.writing is Writing.IDLE
    if "idle" in words and "cut" not in words:
        feed(one, REQUEST % (b"GET", b"1"))
        assert len(one.requests) == 2, "the connection is kept"


def test_where_100_is_waited_for_it_comes_only_before_the_head() -> None:
    for writing in {*Writing} - {Writing.TUNNEL}:  # who announces a body gets none
        method, minor, length, end = PLACES[writing]
        one = due(method, minor, more=b"Expect: 100-continue\r\nContent-Length: 3\r\n")
        if end is not None:
            respond(one, headers=[(b"content-length", length)] if length else [], end=end)
        before = len(one.output)
        one.wire.continue_body(1)
        expected = b"HTTP/1.1 100 Continue\r\n\r\n" if writing is Writing.DUE else b""
        assert bytes(one.output)[before:] == expected
