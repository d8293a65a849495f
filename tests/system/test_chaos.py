"""The promises of docs/reliability.md, each for a few seconds; ``python -m tests.chaos`` is longer.

Durations are only measured there, where the machine is known to be free.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.chaos.deaths import crash_loop, kills, master_killed
from tests.chaos.hangs import all_stopped, blocked, hung, stopped
from tests.chaos.outcome import Outcome
from tests.chaos.reloads import broken_reload, reload_storm, reloads
from tests.chaos.site import BROKEN
from tests.chaos.slots import recycling, scaling
from tests.chaos.stops import bounded_stop, busy_master, drain_delay, good_bye
from tests.chaos.talks import CAUSES, fairness, spread, talks

# These bring load with them, and are not run beside each other.
pytestmark = pytest.mark.xdist_group("load")


def check(outcome: Outcome) -> None:
    assert outcome.broken == []
    assert outcome.failed == 0


@pytest.mark.parametrize(
    ("times", "options"),
    [(2, ()), (1, ("--max-surge", "1")), (1, ("--listen-mode", "shared"))],
    ids=["all at once", "one by one", "one queue"],
)
def test_reloads_lose_no_request(times: int, options: tuple[str, ...]) -> None:
    check(reloads(times, "--probation", "0.5", *options, workers=2))


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_reload_loses_no_request_and_the_old_code_stays(kind: str) -> None:
    check(broken_reload(kind, probation=4.0 if "death" in kind else 1.0, dies_after=0.1))


def test_a_storm_of_signals_becomes_few_reloads_and_the_newest_code_wins() -> None:
    check(reload_storm(50))


def test_a_killed_worker_takes_nothing_with_it_but_what_it_had_in_flight() -> None:
    outcome = kills(3)
    check(outcome)
    assert outcome.excused > 0  # or nothing was proven


def test_one_slot_whose_workers_keep_dying_harms_no_other() -> None:
    check(crash_loop(3.0))


def test_a_killed_master_leaves_nobody_and_its_port() -> None:
    check(master_killed(1))


def test_connections_to_a_stopped_worker_are_answered_by_others() -> None:
    check(stopped(2.0))


def test_connections_to_a_blocked_worker_are_answered_by_others() -> None:
    check(blocked(2.0))


def test_a_hung_worker_is_replaced_and_the_log_says_where_it_stood() -> None:
    check(hung(3.0))


def test_a_machine_that_stood_still_kills_no_worker() -> None:
    check(all_stopped(4.0, 3.0))


def test_scaling_loses_no_request() -> None:
    check(scaling((2, 3, 1)))


@pytest.mark.parametrize(
    "run",
    [
        partial(recycling, "requests", 4, "--max-requests", "200"),
        partial(recycling, "age", 4, "--max-worker-age", "2"),
    ],
    ids=["requests", "age"],
)
def test_workers_are_exchanged_one_by_one_the_successor_first(run: Callable[[], Outcome]) -> None:
    check(run())


def test_a_delayed_stop_loses_no_request_of_clients_that_heed_its_announcement() -> None:
    check(drain_delay(3.0, leave_s=0.7))


def test_streams_that_hear_of_the_end_say_good_bye() -> None:
    check(good_bye(20))


def test_a_stop_answers_what_is_in_flight_and_ends_what_would_not() -> None:
    check(bounded_stop(50, 10, 4, shutdown_timeout=4.0))


def test_the_master_does_all_it_is_told_while_old_workers_drain() -> None:
    check(busy_master(6.0))


@pytest.mark.parametrize("cause", CAUSES)
def test_a_drain_lets_talks_end_and_sees_silent_websockets_off(cause: str) -> None:
    check(talks(cause, 20, timeout_s=3.0, over_s=1.0))


def test_websockets_that_hear_of_the_end_say_good_bye() -> None:
    check(talks("SIGTERM", 20, timeout_s=30.0, over_s=1.0, heed=True))


def test_websockets_of_a_drain_are_closed_one_after_the_other_and_all_come_back() -> None:
    check(spread(200, 2.0))


def test_websockets_are_even_over_the_workers_also_after_a_death() -> None:
    check(fairness(240, 120))
