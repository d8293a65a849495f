"""The deadlines of a WebSocket, on a clock that the test moves."""

from __future__ import annotations

import pytest

from pounce.worker.websocket_deadlines import Deadlines, Verdict, WebSocketTimeouts

ALL = WebSocketTimeouts(
    handshake=30.0,
    ping_interval=20.0,
    ping_timeout=10.0,
    idle=75.0,
    frame=30.0,
    frame_min_rate=240,
    max_rate=10,
)
NONE = WebSocketTimeouts()


class Peer:
    """A WebSocket whose peer does what the test says.

    Attributes:
        now: seconds; look() moves it on.
    """

    def __init__(self, timeouts: WebSocketTimeouts, *, until: float = 0.0) -> None:
        self.now = 100.0
        self.received = self.messages = self.said = 0
        self.midway = self.deaf = self.unread = False
        self.stalled = 0.0
        self.deadlines = Deadlines(timeouts, self.now, until)

    def look(self, after: float = 1.0) -> Verdict:
        self.now += after
        return self.deadlines.look(
            self.now,
            received=self.received,
            messages=self.messages,
            said=self.said,
            midway=self.midway,
            deaf=self.deaf,
            unread=self.unread,
            stalled=self.stalled,
        )

    def verdicts(self, seconds: int) -> list[tuple[int, Verdict]]:
        """What it says of each second in which nothing happens, where it says anything."""
        found = [(second, self.look()) for second in range(1, seconds + 1)]
        return [each for each in found if each[1] is not Verdict.NOTHING]


def test_a_pause_is_told_once_then_a_ping_is_sent_and_then_it_is_silent() -> None:
    assert Peer(ALL).verdicts(31)[:3] == [
        (1, Verdict.REST),
        (20, Verdict.PING),
        (30, Verdict.SILENT),
    ]


def test_an_answered_ping_starts_it_all_over() -> None:
    peer = Peer(ALL)
    assert [verdict for _, verdict in peer.verdicts(25)] == [Verdict.REST, Verdict.PING]
    peer.received += 6
    assert peer.look() is Verdict.NOTHING
    assert peer.verdicts(20) == [(1, Verdict.REST), (20, Verdict.PING)]


def test_without_pings_it_is_idle_in_the_end() -> None:
    peer = Peer(ALL._replace(ping_interval=0.0))
    assert peer.verdicts(75) == [(1, Verdict.REST), (75, Verdict.IDLE)]
    assert peer.look() is Verdict.IDLE  # until it is heeded


def test_what_we_say_is_life_too_but_no_answer_to_a_ping() -> None:
    peer = Peer(ALL)
    found = []
    for _ in range(40):
        peer.said += 1
        found.append(peer.look())
    assert found.index(Verdict.PING) == 19
    assert found.index(Verdict.SILENT) == 29
    quiet = Peer(ALL._replace(ping_interval=0.0))
    for _ in range(100):
        quiet.said += 1
        assert quiet.look() in (Verdict.NOTHING, Verdict.REST)


def test_who_is_not_read_cannot_be_silent() -> None:
    peer = Peer(ALL)
    peer.deaf = peer.midway = True
    assert peer.verdicts(1000) == []


def test_half_a_frame_is_not_waited_for_for_ever() -> None:
    peer = Peer(ALL._replace(ping_interval=0.0))
    peer.received, peer.midway = 100, True
    assert peer.look() is Verdict.NOTHING
    assert peer.verdicts(30) == [(30, Verdict.HALF)]


@pytest.mark.parametrize(("rate", "verdict"), [(239, Verdict.HALF), (241, Verdict.NOTHING)])
def test_a_frame_that_comes_drop_by_drop_is_given_up(rate: int, verdict: Verdict) -> None:
    peer = Peer(ALL)
    peer.midway = True
    found = set()
    for _ in range(62):
        peer.received += rate
        found.add(peer.look())
    assert found == {Verdict.NOTHING, verdict}


def test_a_slow_frame_that_ended_is_not_held_against_the_next() -> None:
    peer = Peer(ALL)
    for second in range(100):
        peer.received += 10
        peer.midway = second % 20 != 0
        assert peer.look() is Verdict.NOTHING


def test_a_lifetime_ends_whatever_goes_on() -> None:
    peer = Peer(NONE, until=110.0)
    peer.received = 1
    assert peer.verdicts(9) == [(2, Verdict.REST)]
    peer.received = 2
    assert peer.look() is Verdict.OLD


def test_a_burst_of_one_second_s_worth_is_no_flood() -> None:
    peer = Peer(ALL)
    peer.received = 1
    for _ in range(20):
        peer.messages += 10
        assert peer.look() is not Verdict.FLOOD
    peer.messages += 20
    assert peer.look() is not Verdict.FLOOD
    peer.messages += 21
    assert peer.look() is Verdict.FLOOD


def test_credit_for_messages_does_not_grow_without_end() -> None:
    peer = Peer(ALL._replace(ping_interval=0.0, idle=0.0))
    peer.verdicts(1000)
    peer.messages += 21
    assert peer.look() is Verdict.FLOOD


@pytest.mark.parametrize("reads_late", [False, True], ids=["at once", "at the next look"])
def test_what_was_sent_while_the_worker_stood_still_is_no_flood(reads_late: bool) -> None:
    peer = Peer(ALL)
    peer.stalled += 60.0
    if reads_late:
        assert peer.look() is not Verdict.FLOOD
    peer.messages += 600
    peer.received += 1
    assert peer.look() is Verdict.NOTHING
    assert peer.look() is not Verdict.FLOOD  # another second, in which the credit is cut
    peer.messages += 21
    assert peer.look() is Verdict.FLOOD


def test_what_was_sent_while_the_application_was_slow_is_no_flood() -> None:
    peer = Peer(ALL)
    peer.deaf = True
    assert peer.verdicts(60) == []
    peer.deaf = False
    peer.messages += 600
    assert peer.look() is not Verdict.FLOOD
    peer.messages += 21
    assert peer.look() is Verdict.FLOOD


def test_nothing_is_demanded_where_all_is_off() -> None:
    assert Peer(NONE).verdicts(10_000) == [(1, Verdict.REST)]


def test_the_last_sign_of_life_is_told() -> None:
    peer = Peer(ALL)
    assert peer.deadlines.alive_at == 100.0
    peer.received = 1
    peer.look(5.0)
    peer.look(5.0)
    assert peer.deadlines.alive_at == 105.0
    peer.said = 1
    peer.look(5.0)
    assert peer.deadlines.alive_at == 115.0


def test_who_is_still_reading_what_it_was_sent_is_not_asked_for_a_sign_of_life() -> None:
    peer = Peer(ALL)
    assert peer.verdicts(25)[-1] == (20, Verdict.PING)
    peer.unread = True
    assert peer.verdicts(200) == []
    peer.unread = False
    assert peer.verdicts(10) == [(1, Verdict.PING)]
    assert peer.look() is Verdict.SILENT


def test_half_a_frame_is_not_forgiven_to_who_reads_slowly() -> None:
    peer = Peer(ALL)
    peer.unread = peer.midway = True
    assert peer.verdicts(30) == [(30, Verdict.HALF)]
