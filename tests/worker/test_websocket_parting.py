"""How many WebSockets are closed when, on a clock that the test moves."""

from __future__ import annotations

import pytest

from pounce.worker.websocket_parting import FAREWELLS, Parting
from pounce.worker.wire.close_codes import GOING_AWAY, RESTARTING, may_be_sent

TICK = 0.05


def closed(parting: Parting, left: int, *, start: float, seconds: float) -> list[tuple[float, int]]:
    """When how many were closed, of `left` that never go by themselves."""
    found = []
    for tick in range(1, round(seconds / TICK) + 1):
        now = start + tick * TICK
        due = parting.due(now, left)
        left -= due
        if due:
            found.append((now - start, due))
    assert not left
    return found


@pytest.mark.parametrize("count", [1, 3, 200, 10_000])
def test_lingering_closes_evenly_in_the_second_half(count: int) -> None:
    times = closed(Parting("linger", 100.0, 110.0), count, start=100.0, seconds=10.0)
    assert times[0][0] > 5.0
    assert times[-1][0] <= 9.0 + 2 * TICK
    by_second = [sum(n for at, n in times if s < at <= s + 1) for s in range(10)]
    assert sum(by_second) == count
    if count >= 200:
        assert max(by_second) <= count / 4 * 1.05
        assert min(by_second[5:9]) >= count / 4 * 0.95


def test_closing_at_once_spreads_from_the_beginning() -> None:
    times = closed(Parting("close", 100.0, 110.0), 900, start=100.0, seconds=10.0)
    assert times[0][0] <= 2 * TICK
    assert 8.5 < times[-1][0] <= 9.0 + 2 * TICK
    assert max(n for _, n in times) <= 7  # five at each tick of 180


def test_who_goes_by_himself_gives_the_others_more_time() -> None:
    parting = Parting("close", 0.0, 10.0)
    assert parting.due(1.0, 90) == 10
    assert parting.due(2.0, 8) == 1  # of the 80 that were left 72 have gone


def test_nothing_is_due_where_nobody_is_left() -> None:
    parting = Parting("close", 0.0, 10.0)
    assert parting.due(5.0, 0) == 0
    assert parting.due(9.5, 0) == 0


def test_a_late_look_closes_all_that_are_left() -> None:
    parting = Parting("linger", 0.0, 10.0)
    assert not parting.is_over(8.9)
    assert parting.is_over(9.1)
    assert parting.due(9.1, 55) == 55


def test_a_window_of_no_time_is_over_at_once() -> None:
    parting = Parting("linger", 5.0, 5.0)
    assert parting.is_over(5.0)
    assert parting.due(5.0, 7) == 7


def test_who_others_can_serve_is_told_to_come_again() -> None:
    codes = {reason: code for reason, (code, _) in FAREWELLS.items()}
    assert {codes[reason] for reason in ("reload", "scale", "recycle")} == {RESTARTING}
    assert {codes[reason] for reason in ("exit", "master gone")} == {GOING_AWAY}
    assert all(may_be_sent(code) and len(reason) < 124 for code, reason in FAREWELLS.values())
