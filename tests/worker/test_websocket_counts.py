"""What the WebSockets of a worker have done together: sums of one moment that never fall."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce import ipc
from pounce.worker.websocket_counts import EACH_S, WebSocketCounts, kind_of


@dataclass
class Way:
    plain: int = 0
    packed: int = 0


@dataclass
class Ways:
    inflater: Way = field(default_factory=Way)
    deflater: Way = field(default_factory=Way)


@dataclass(eq=False)
class Talk:
    """A WebSocket as it is counted."""

    status: int = 101
    code: int = 0
    received: int = 0
    sent: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    compression: Ways | None = None

    def go_on(self) -> None:
        self.received += 10
        self.sent += 20
        self.messages_received += 1
        self.messages_sent += 2
        if self.compression is not None:
            self.compression.inflater.plain += 3
            self.compression.deflater.plain += 4
            self.compression.inflater.packed += 1
            self.compression.deflater.packed += 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1000, "1000"),
        (1006, "1006"),
        (1015, "1015"),
        (3000, "3xxx"),
        (3999, "3xxx"),
        (4000, "4xxx"),
        (4999, "4xxx"),
        (0, "other"),
        (1016, "other"),
        (2999, "other"),
        (5000, "other"),
    ],
)
def test_a_close_code_is_counted_as_one_of_few_kinds(code: int, kind: str) -> None:
    assert kind_of(code) == kind


@given(st.integers(-1, 10_000))
def test_every_close_code_is_of_a_kind_that_a_heartbeat_may_name(code: int) -> None:
    assert kind_of(code) in ipc.CLOSE_KINDS


def test_open_ones_and_those_that_are_over_are_added_up() -> None:
    counts = WebSocketCounts()
    stays, goes, compressed = Talk(), Talk(code=1001), Talk(compression=Ways())
    for talk in (stays, goes, compressed):
        talk.go_on()
    counts.over(goes)
    assert counts.look({stays, compressed}, 1.0) == ipc.WebSockets(
        open=2,
        opened=3,
        closed={"1001": 1},
        received=30,
        sent=60,
        messages_received=3,
        messages_sent=6,
        plain=7,
        packed=3,
    )


def test_one_whose_handshake_is_not_finished_is_not_counted() -> None:
    counts = WebSocketCounts()
    assert counts.look({Talk(status=0, received=5), Talk(status=403)}, 1.0) == ipc.WebSockets()


def test_what_was_said_does_not_change_afterwards() -> None:
    counts = WebSocketCounts()
    counts.over(Talk(code=1000))
    before = counts.look((), 1.0)
    counts.over(Talk(code=1000))
    assert before.closed == {"1000": 1}
    assert counts.look((), 2.0).closed == {"1000": 2}


def test_many_are_not_looked_at_more_often_than_a_part_of_the_time() -> None:
    counts = WebSocketCounts()
    talks = [Talk() for _ in range(1000)]
    first = counts.look(talks, 10.0)
    talks[0].go_on()
    assert counts.look(talks, 10.0 + 999 * EACH_S) is first
    assert counts.look(talks, 10.0 + 1001 * EACH_S).messages_received == 1


@given(st.lists(st.sampled_from(["open", "talk", "close", "wait", "look"]), max_size=60))
def test_nothing_is_lost_or_counted_twice_and_only_open_ones_become_fewer(
    moves: list[str],
) -> None:
    counts, talks, now, messages, opened = WebSocketCounts(), list[Talk](), 0.0, 0, 0
    last = ipc.WebSockets()
    for move in moves:
        match move:
            case "open":
                talks.append(Talk(compression=Ways()))
                opened += 1
            case "talk":
                for talk in talks:
                    talk.go_on()
                messages += len(talks)
            case "close" if talks:
                talk = talks.pop(0)
                talk.code = 1000
                counts.over(talk)
            case "wait":
                now += EACH_S
        said = counts.look(talks, now)
        assert said.opened == said.open + sum(said.closed.values())
        for name in ("opened", "received", "messages_sent", "plain", "packed"):
            assert getattr(said, name) >= getattr(last, name)
        last = said
    last = counts.look(talks, float("inf"))
    assert (last.opened, last.open) == (opened, len(talks))
    assert last.messages_received == messages
