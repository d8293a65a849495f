"""The status as one JSON object: what it says at each state of the server and of a worker."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pounce import ipc
from pounce.supervisor.crew import LATE_S, RELOAD_SPACING_S, Policy
from pounce.supervisor.orders import Reload, Said, Scale, Stop
from pounce.supervisor.state import Supervisor
from pounce.supervisor.status import About, status_of
from tests.support.fake_kernel import FakeKernel

NO_WEBSOCKETS: dict[str, Any] = {
    "open": 0,
    "opened": 0,
    "closed": {},
    "messages_received": 0,
    "messages_sent": 0,
    "bytes_received": 0,
    "bytes_sent": 0,
    "deflate_ratio": None,
}


def kernel(slots: int = 2, *, steerable: bool = True, **policy: Any) -> FakeKernel:
    policy = {"shutdown_timeout": 30.0, **policy}
    return FakeKernel(Supervisor(slots=slots, policy=Policy(**policy), steerable=steerable))


def serving(slots: int = 2, **policy: Any) -> FakeKernel:
    one = kernel(slots, **policy)
    one.boot_all()
    return one


def status(one: FakeKernel) -> dict[str, Any]:
    """With 100 times the worker's number for its pid."""
    pids = {worker: 100 * worker for worker in one.processes}
    said = status_of(one.supervisor, pids, one.now)
    assert json.loads(json.dumps(said, allow_nan=False)) == said, "no infinity, no tuple"
    return said


def workers(one: FakeKernel, name: str) -> list[Any]:
    return [worker[name] for worker in status(one)["workers"]]


# The server


def about() -> About:
    return About(
        app="main:app",
        version="1.2",
        pid=7,
        addresses=("127.0.0.1:8000", "unix:/run/app.sock"),
        started_at=1_700_000_000.12345,
        begun_at=1000.0,
    )


def test_the_facts_of_the_server() -> None:
    assert about().facts(1061.5) == {
        "version": "1.2",
        "app": "main:app",
        "pid": 7,
        "addresses": ["127.0.0.1:8000", "unix:/run/app.sock"],
        "started_at": 1_700_000_000.123,
        "uptime_s": 61.5,
        "last_reload": None,
    }


def test_the_last_reload_is_told_with_its_reason_where_it_failed() -> None:
    one = about()
    one.note(2, "", 1010.0)
    assert one.facts(1015.0)["last_reload"] == {
        "generation": 2,
        "ok": True,
        "why": "",
        "ago_s": 5.0,
    }
    one.note(3, "no module named shop", 1020.0)
    assert one.facts(1020.5)["last_reload"] == {
        "generation": 3,
        "ok": False,
        "why": "no module named shop",
        "ago_s": 0.5,
    }


def test_the_state_from_start_to_stop() -> None:
    one = kernel(probation=3.0)
    states = [(status(one)["state"], status(one)["generation"], status(one)["coming"])]

    def note() -> None:
        said = status(one)
        states.append((said["state"], said["generation"], said["coming"]))

    one.boot_all()
    note()
    one.pass_time(2 * RELOAD_SPACING_S)
    one.feed(Reload())
    note()
    one.boot_all()
    note()
    assert status(one)["probation_s"] == 3.0
    one.pass_time(1.0)
    assert status(one)["probation_s"] == 2.0
    one.pass_time(2.5)
    note()
    assert status(one)["probation_s"] is None
    one.feed(Stop())
    note()
    assert states == [
        ("starting", 0, 1),
        ("serving", 1, 0),
        ("reloading", 1, 2),
        ("probation", 1, 2),
        ("serving", 2, 0),
        ("stopping", 2, 0),
    ]


def test_the_slots_that_are_wanted_and_those_left_out() -> None:
    one = serving(slots=3)
    assert (status(one)["slots"], status(one)["slots_out"]) == (3, [])
    one.feed(Scale(to=2))
    assert (status(one)["slots"], status(one)["slots_out"]) == (2, [2])


# Its workers


def test_workers_come_by_slot_and_the_older_first() -> None:
    one = serving()
    one.pass_time(2 * RELOAD_SPACING_S)
    one.feed(Reload())
    assert workers(one, "slot") == [0, 0, 1, 1]
    assert workers(one, "generation") == [1, 2, 1, 2]
    assert workers(one, "pid") == [100, 300, 200, 400]


def test_one_that_is_being_forked_has_no_pid_yet() -> None:
    one = kernel(slots=1)
    (worker,) = status_of(one.supervisor, {}, one.now)["workers"]
    assert worker["pid"] == 0


def test_a_worker_before_its_first_heartbeat_has_done_nothing() -> None:
    one = kernel(slots=1)
    (worker,) = status(one)["workers"]
    assert worker["stage"] == "booting"
    assert worker["serving_s"] is None
    assert worker["silent_s"] is None
    assert worker["open_at_drain"] is None
    assert not worker["accepts"]
    assert not worker["leaving"]
    for name in ("requests", "connections", "accepted", "in_flight", "memory"):
        assert worker[name] == 0
    assert worker["websockets"] == NO_WEBSOCKETS
    assert status(one)["totals"] == {"requests": 0, "accepted": 0, "websockets": NO_WEBSOCKETS}


def test_a_worker_that_serves_is_shown_with_what_its_heartbeat_said() -> None:
    one = serving(slots=1)
    (process,) = one.serving
    websockets = ipc.WebSockets(5, 9, {"1000": 3, "4xxx": 1}, 100, 200, 6, 7, 300, 90)
    one.feed(Said(process.worker, ipc.Heartbeat(10.0, 11, 12, 13, 14, 15, websockets)))
    one.pass_time(2.5)
    (worker,) = status(one)["workers"]
    assert worker == {
        "slot": 0,
        "generation": 1,
        "pid": 100,
        "stage": "serving",
        "serving_s": 2.5,
        "silent_s": 2.5,
        "accepts": True,
        "requests": 13,
        "connections": 11,
        "accepted": 12,
        "in_flight": 14,
        "memory": 15,
        "leaving": False,
        "left_s": None,
        "open_at_drain": None,
        "websockets_at_drain": None,
        "websockets": {
            "open": 5,
            "opened": 9,
            "closed": {"1000": 3, "4xxx": 1},
            "messages_received": 6,
            "messages_sent": 7,
            "bytes_received": 100,
            "bytes_sent": 200,
            "deflate_ratio": 3.33,
        },
    }


def test_totals_lose_nothing_of_workers_that_are_gone() -> None:
    one = serving(slots=2)
    first, second = one.serving
    beat = ipc.Heartbeat(1.0, 1, 2, 3, 0, 0, ipc.WebSockets(1, 5, {"1012": 4}, messages_sent=6))
    for process in (first, second):
        one.feed(Said(process.worker, beat))
    one.feed(Said(second.worker, replace(beat, requests=10)))  # a worker counts in all by itself
    one.crash(first)
    totals = status(one)["totals"]
    assert (totals["requests"], totals["accepted"]) == (13, 4)
    websockets = totals["websockets"]
    assert (websockets["opened"], websockets["messages_sent"]) == (10, 12)
    assert websockets["closed"] == {"1006": 1, "1012": 8}, "what it had open ended with it"
    assert websockets["open"] == 1


def test_a_stalled_worker_is_called_so() -> None:
    one = serving(slots=2)
    first, second = one.serving
    one.beat(first)
    one.beat(second)
    one.waiting = 5
    for _ in range(8):  # the second goes on, the first says nothing more
        one.pass_time(LATE_S / 2)
        one.beat(second)
    assert workers(one, "stage") == ["stalled", "serving"]
    assert status(one)["slots_out"] == [0]
    one.beat(first)
    assert workers(one, "stage") == ["serving", "serving"]


def test_who_drains_is_shown_with_what_is_left() -> None:
    one = serving(slots=1, shutdown_timeout=30.0)
    (process,) = one.serving
    one.feed(Stop())
    one.feed(Said(process.worker, ipc.Draining(4, 2)))
    one.pass_time(10.0)
    (worker,) = status(one)["workers"]
    assert worker["stage"] == "draining"
    assert worker["leaving"]
    assert not worker["accepts"]
    assert worker["open_at_drain"] == 6
    assert worker["websockets_at_drain"] == 2
    assert 20.0 <= worker["left_s"] <= 22.0, "the time to drain, and a grace"
