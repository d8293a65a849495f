"""Which WebSockets of a draining worker are told to go, and when."""

from __future__ import annotations

import pytest

from pounce.worker.seeing_off import SeeingOff


class Guest:
    """A WebSocket as SeeingOff knows it: told(), and for how long it has been silent."""

    def __init__(self, alive_at: float) -> None:
        self.alive_at = alive_at
        self.dismissed: list[tuple[int, str]] = []
        self.closed: list[tuple[int, str]] = []

    def dismiss(self, code: int, reason: str) -> None:
        self.dismissed.append((code, reason))

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))


RESTART = (1012, "the server is restarting")
GOING = (1001, "the server is going away")


def begun(guests: set[Guest], reason: str = "reload", mode: str = "close") -> SeeingOff:
    seeing_off = SeeingOff(guests, mode)  # type: ignore[arg-type]  # as much as it uses
    seeing_off.begin(reason, 0.0, 10.0)
    return seeing_off


def test_nobody_is_told_before_a_drain_begins() -> None:
    guest = Guest(0.0)
    SeeingOff({guest}, "close").go_on(100.0)  # type: ignore[arg-type]
    assert not guest.dismissed


def test_who_is_silent_longest_goes_first_and_is_told_once() -> None:
    guests = [Guest(float(number)) for number in range(9)]
    seeing_off = begun(set(guests))
    for second in range(1, 9):
        seeing_off.go_on(float(second))
        assert [len(guest.dismissed) for guest in guests] == [1] * second + [0] * (9 - second)
        assert not any(guest.closed for guest in guests)
    assert guests[0].dismissed == [RESTART]


def test_who_came_late_is_told_as_well() -> None:
    guests = {Guest(0.0)}
    seeing_off = begun(guests)
    seeing_off.go_on(8.0)
    late = Guest(8.5)
    guests.add(late)
    seeing_off.go_on(8.99)
    assert late.dismissed == [RESTART]


def test_who_has_gone_is_told_nothing() -> None:
    gone, there = Guest(0.0), Guest(1.0)
    guests = {gone, there}
    seeing_off = begun(guests)
    seeing_off.go_on(1.0)
    guests.remove(gone)
    seeing_off.go_on(8.9)
    assert not gone.dismissed
    assert there.dismissed == [RESTART]


def test_at_the_end_of_the_time_they_are_closed_whatever_they_are_at() -> None:
    guest = Guest(0.0)
    seeing_off = begun({guest}, "exit", "linger")
    seeing_off.go_on(4.9)
    assert not guest.dismissed
    seeing_off.go_on(9.0)
    assert (guest.dismissed, guest.closed) == ([GOING], [GOING])


@pytest.mark.parametrize(("reason", "mode"), [("interrupt", "linger"), ("reload", "prompt")])
def test_who_waits_at_a_terminal_does_not_wait_for_the_silent(reason: str, mode: str) -> None:
    guests = {Guest(float(number)) for number in range(100)}
    seeing_off = begun(guests, reason, mode)
    seeing_off.go_on(0.45)
    assert 40 <= sum(bool(guest.dismissed) for guest in guests) <= 60
    seeing_off.go_on(0.9)
    assert all(guest.closed for guest in guests)


def test_a_second_order_brings_it_all_forward() -> None:
    guests = {Guest(float(number)) for number in range(100)}
    seeing_off = begun(guests, "reload", "linger")
    seeing_off.go_on(4.0)
    seeing_off.begin("reload", 4.0, 5.0)
    seeing_off.go_on(4.7)
    assert 40 <= sum(bool(guest.dismissed) for guest in guests) <= 60
    seeing_off.go_on(4.95)
    assert all(guest.closed for guest in guests)
