"""What `pounce ctl` makes of what a server and the system say: numbers in few characters, rates."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pounce.ctl import words
from pounce.ctl.sample import MEMORY_EVERY_S, Sample, Sampler, Usage
from tests.support.status import MIB, TWO, USAGE, status, worker

# Numbers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0s"),
        (9.94, "9.9s"),
        (9.99, "10.0s"),
        (59.9, "59s"),
        (185, "3m05s"),
        (8000, "2h13m"),
        (273_600, "3d04h"),
    ],
)
def test_spans_are_short(seconds: float | None, text: str) -> None:
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9_999_999, "9,999,999"), (12_345_678, "12.3M"), (98_765_432_100, "98.8G")],
)
def test_counts_are_short(number: int, text: str) -> None:
    assert words.count(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0B"), (999, "999B"), (1000, "1.0K"), (1 << 20, "1.0M")]
)
def test_sizes_of_what_may_be_small_are_short(number: int, text: str) -> None:
    assert words.size(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0.0, "0"), (0.25, "0.2"), (523.4, "523"), (12345.0, "12,345")],
)
def test_rates_are_short(number: float | None, text: str) -> None:
    assert words.rate(number) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "-"), (45 * MIB, "45.0M"), (450 * MIB, "450M"), (1536 * MIB, "1.50G")],
)
def test_sizes_are_short(size: int | None, text: str) -> None:
    assert words.memory(size) == text


def test_a_curve_has_its_highest_value_at_the_top() -> None:
    assert words.curve([0, 1, 7]) == "▁▂█"
    assert words.curve([0, 0]) == "▁▁"
    assert words.curve([]) == ""
    assert words.curve([0, 7], plain=True) == "_#"


# Samples


def test_a_rate_goes_by_heartbeats_not_by_looks() -> None:
    sampler = Sampler(here=False)

    def look(now: float, silent_s: float | None, requests: int) -> dict[int, float]:
        one = worker(0, 4140, silent_s=silent_s, requests=requests)
        return sampler.look(status(one), now).rates

    assert look(100.0, None, 0) == {}
    assert look(100.5, 0.5, 1000) == {}
    assert look(100.9, 0.9, 1000) == {}, "the same heartbeat"
    assert look(101.5, 0.5, 1300) == {4140: 300.0}
    assert look(101.9, 0.9, 1300) == {4140: 300.0}, "nothing new is no stop"
    assert look(103.0, 0.5, 1300) == {4140: 0.0}


def test_the_history_is_that_of_all_workers() -> None:
    sampler = Sampler(here=False)
    for now, requests in ((1.0, 0), (2.0, 50)):
        both = (worker(slot, 4140 + slot, silent_s=0.0, requests=requests) for slot in (0, 1))
        sample = sampler.look(status(*both), now)
    assert sample.history == (0.0, 100.0)


def test_processes_are_read_only_where_their_numbers_are_ours() -> None:
    ours = status(pid=os.getpid())
    assert Sampler(here=False).look(ours).usage == {}
    sampler = Sampler(here=True)
    assert sampler.look(ours).of(os.getpid()).cpu_percent is None
    usage = sampler.look(ours).of(os.getpid())
    assert usage.cpu_percent is not None
    assert usage.rss
    assert usage.uss
    assert usage.rss > usage.uss > 0


def test_memory_is_added_up_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def count(process: Any) -> Usage:
        counted.append(process.pid)
        return Usage(pss=1)

    monkeypatch.setattr("pounce.ctl.sample._memory_of", count)
    sampler = Sampler(here=True)
    ours = status(pid=os.getpid())
    for now in (100.0, 101.0, 100.0 + MEMORY_EVERY_S):
        assert sampler.look(ours, now).of(os.getpid()).pss == 1
    assert len(counted) == 2


def test_a_process_that_is_gone_is_unknown() -> None:
    gone = status(worker(0, 2**22 + 1), pid=os.getpid())
    assert Sampler(here=True).look(gone).of(2**22 + 1) == Usage()


def test_as_json_each_process_has_its_usage_beside_what_the_server_says() -> None:
    whole = Sample({**TWO, "templates": [{"generation": 4, "pid": 4120}]}, USAGE).as_json()
    assert "ok" not in whole
    assert (whole["pid"], whole["cpu_percent"], whole["pss"]) == (4121, 0.4, 9 * MIB)
    assert whole["workers"][0]["requests"] == 123456
    assert whole["workers"][0]["uss"] == 30 * MIB
    assert whole["templates"] == [
        {"generation": 4, "pid": 4120, "cpu_percent": None, "pss": None, "uss": None, "rss": None}
    ]
