"""The messages between master and worker: there and back, and what is no message."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce import ipc

VALUE_OF: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(0, 2**64),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "str": st.text(max_size=100),
    "Mapping[str, int]": st.dictionaries(
        st.sampled_from(sorted(ipc.CLOSE_KINDS)), st.integers(0, 2**64)
    ),
}
VALUE_OF["WebSockets"] = st.builds(
    ipc.WebSockets, **{field.name: VALUE_OF[str(field.type)] for field in fields(ipc.WebSockets)}
)
MESSAGES = st.sampled_from(sorted(ipc.TAG_OF, key=lambda kind: kind.__name__)).flatmap(
    lambda kind: st.builds(
        kind, **{field.name: VALUE_OF[str(field.type)] for field in fields(kind)}
    )
)


@given(message=MESSAGES)
def test_every_message_survives_the_channel(message: ipc.Message) -> None:
    assert ipc.decode(ipc.encode(message)) == message


@given(messages=st.lists(MESSAGES, max_size=5), data=st.data())
def test_messages_arrive_whole_however_the_stream_is_cut(
    messages: list[ipc.Message], data: st.DataObject
) -> None:
    stream = b"".join(map(ipc.encode, messages))
    reader, arrived = ipc.LineReader(), []
    while stream:
        step = data.draw(st.integers(1, len(stream)))
        arrived += [ipc.decode(line) for line in reader.feed(stream[:step])]
        stream = stream[step:]
    assert arrived == messages


def test_every_tag_names_one_message_of_one_direction() -> None:
    between = [*ipc.FromTemplate.__args__, ipc.Fork]
    kinds = list(dict.fromkeys([*ipc.ToWorker.__args__, *ipc.ToMaster.__args__, *between]))
    assert sorted(ipc.TAG_OF, key=repr) == sorted(kinds, key=repr)
    assert len(set(kinds)) == len(ipc.BY_TAG)


def test_a_message_is_one_readable_line() -> None:
    assert ipc.encode(ipc.Drain("exit", 30.0)) == (
        b'{"say": "drain", "reason": "exit", "within_s": 30.0}\n'
    )


def test_a_whole_number_of_seconds_is_seconds() -> None:
    drain = ipc.decode(b'{"say": "drain", "reason": "exit", "within_s": 30}')
    assert isinstance(drain, ipc.Drain)
    assert type(drain.within_s) is float


def test_a_message_that_is_too_long_is_not_sent_in_pieces() -> None:
    with pytest.raises(ValueError, match=r"Drain is \d+ bytes, limit 4096"):
        ipc.encode(ipc.Drain("x" * ipc.LINE_LIMIT, 1.0))


def test_a_heartbeat_fits_whatever_was_counted() -> None:
    most = ipc.INT_LIMIT - 1
    closed = dict.fromkeys(ipc.CLOSE_KINDS, most)
    websockets = ipc.WebSockets(most, most, closed, most, most, most, most, most, most)
    beat = ipc.Heartbeat(1 / 3, most, most, most, most, most, websockets)
    assert ipc.decode(ipc.encode(beat)) == beat


def test_the_counts_of_two_workers_add_up() -> None:
    one = ipc.WebSockets(1, 2, {"1000": 1, "4xxx": 2}, 3, 4, 5, 6, 7, 8)
    two = ipc.WebSockets(10, 20, {"1000": 10, "1006": 20}, 30, 40, 50, 60, 70, 80)
    closed = {"1000": 11, "1006": 20, "4xxx": 2}
    assert one + two == ipc.WebSockets(11, 22, closed, 33, 44, 55, 66, 77, 88)
    assert one + ipc.WebSockets() == one


def beat_with(**websockets: object) -> bytes:
    said = json.loads(ipc.encode(ipc.Heartbeat(1.0, 0, 0, 0, 0, 0)))
    said["websockets"] |= websockets
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    "line",
    [
        beat_with(open=1.0),
        beat_with(more=1),
        beat_with(closed=7),
        beat_with(closed={"1016": 1}),
        beat_with(closed={"1000": "many"}),
        beat_with(closed={"1000": True}),
        b'{"say": "heartbeat", "next_s": 1.0, "connections": 0, "accepted": 0, "requests": 0,'
        b' "in_flight": 0, "memory": 0, "websockets": []}',
    ],
    ids=lambda line: line[-60:].decode(),
)
def test_counts_of_another_kind_are_no_message(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a message: b"):
        ipc.decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"null",
        b"7",
        b'"go"',
        b'["go"]',
        b"{}",
        b'{"say": "hello"}',
        b'{"say": ["go"]}',
        b'{"say": "go", "now": true}',
        b'{"say": "drain", "reason": "exit"}',
        b'{"say": "drain", "reason": 7, "within_s": 1.0}',
        b'{"say": "drain", "reason": "exit", "within_s": "soon"}',
        b'{"say": "drain", "reason": "exit", "within_s": 1' + b"0" * 400 + b"}",
        b'{"say": "drained", "cut": 1.0}',
        b'{"say": "drained", "cut": true}',
        b'{"say": "drained", "cut": 1' + b"0" * 400 + b"}",  # no float is so large
        b'{"say": "drained", "cut": 1' + b"0" * 4400 + b"}",  # past CPython's limit of digits
        b"[" * ipc.LINE_LIMIT,  # deeper than the parser goes
    ],
    ids=lambda line: line[:60].decode("latin-1"),
)
def test_what_is_no_message_is_a_value_error_that_shows_it(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a message: b"):
        ipc.decode(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
LIKE_MESSAGES = st.fixed_dictionaries(
    {"say": st.sampled_from(sorted(ipc.BY_TAG)) | JSON},
    optional=dict.fromkeys(("reason", "within_s", "cut", "code", "why", "http"), JSON),
)


@given(line=st.binary(max_size=60) | LIKE_MESSAGES.map(lambda said: json.dumps(said).encode()))
def test_a_broken_worker_cannot_raise_anything_else_in_the_master(line: bytes) -> None:
    try:
        message = ipc.decode(line)
    except ValueError:
        return
    assert type(message) in ipc.TAG_OF


def test_empty_lines_say_nothing() -> None:
    assert ipc.LineReader().feed(b"\n\n" + ipc.encode(ipc.Go()) + b"\n") == [b'{"say": "go"}']


def test_a_line_without_an_end_is_dropped_up_to_its_end_and_the_next_one_is_read() -> None:
    reader = ipc.LineReader()
    assert reader.feed(b"x" * ipc.LINE_LIMIT) == []
    assert reader.feed(b"x") == []
    assert reader.feed(b"x" * 3 * ipc.LINE_LIMIT) == []
    assert reader.feed(b"xxx") == []
    assert reader.feed(b'xxx\n{"say": "go"}\n{"say"') == [b'{"say": "go"}']
    assert reader.feed(b': "ready"}\n') == [b'{"say": "ready"}']


def test_a_line_without_an_end_takes_no_memory() -> None:
    reader = ipc.LineReader()
    for _ in range(100):
        reader.feed(b"x" * 1000)
        assert len(reader._rest) <= ipc.LINE_LIMIT
