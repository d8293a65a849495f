"""What `pounce ctl` shows of a given status: every worker and slot, whatever the terminal."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
from rich.console import Console

from pounce.ctl import words
from pounce.ctl.sample import HISTORY, MEMORY_EVERY_S, Sample, Sampler, Usage
from pounce.ctl.screen import STAGE_STYLES, STATE_STYLES, screen
from pounce.supervisor.crew import Policy
from pounce.supervisor.stages import Stage
from pounce.supervisor.state import Supervisor
from pounce.supervisor.status import About, status_of

MIB = 1 << 20


def worker(slot: int, pid: int, **more: Any) -> dict[str, Any]:
    return {
        "slot": slot,
        "generation": 4,
        "pid": pid,
        "stage": "serving",
        "serving_s": 7320.0,
        "silent_s": 0.3,
        "accepts": True,
        "requests": 123456,
        "connections": 10,
        "accepted": 100,
        "in_flight": 2,
        "memory": 60 * MIB,
        "leaving": False,
        "left_s": None,
        "open_at_drain": None,
        **more,
    }


def status(*workers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "ok": True,
        "version": "1.2.3",
        "app": "shop.web:app",
        "pid": 4121,
        "addresses": ["127.0.0.1:8000", "unix:/run/shop.sock"],
        "started_at": 1e9,
        "uptime_s": 8000.0,
        "last_reload": None,
        "state": "serving",
        "generation": 4,
        "coming": 0,
        "slots": 2,
        "slots_out": [],
        "probation_s": None,
        "templates": [],
        "workers": list(workers),
        **more,
    }


def shown(
    sample: Sample | dict[str, Any], *, width: int = 100, height: int = 0, plain: bool = False
) -> str:
    """The screen as lines without trailing spaces."""
    if isinstance(sample, dict):
        sample = Sample(sample)
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(screen(sample, width=width, height=height, plain=plain))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def row(text: str, start: str) -> list[str]:
    """The words of the line that begins with them."""
    (line,) = [
        line.split()
        for line in text.splitlines()
        if line.split()[: len(start.split())] == start.split()
    ]
    return line


TWO = status(worker(0, 4140), worker(1, 4141, requests=9_000_000, in_flight=0))
USAGE = {
    4121: Usage(0.4, 9 * MIB, 8 * MIB, 21 * MIB),
    4140: Usage(31.0, 40 * MIB, 30 * MIB, 60 * MIB),
    4141: Usage(97.0, 41 * MIB, 30 * MIB, 61 * MIB),
}


def test_the_head_says_who_serves_what_where_and_for_how_long() -> None:
    text = shown(Sample(TWO, USAGE))
    assert row(text, "pounce") == ["pounce", "1.2.3", "shop.web:app", "●", "serving"]
    assert "master 4121   up 2h13m   generation 4   workers 2   CPU 0%   memory 9.0M" in text
    assert "listens on 127.0.0.1:8000, unix:/run/shop.sock" in text
    assert "last reload" not in text
    assert "leaving" not in text


def test_each_worker_has_a_row_and_all_of_them_a_sum() -> None:
    text = shown(Sample(TWO, USAGE, {4140: 523.2, 4141: 1.3}))
    assert row(text, "slot pid") == [
        *("slot", "pid", "gen", "stage", "age", "requests", "req/s", "busy", "conns", "CPU", "PSS"),
    ]
    assert row(text, "0 4140") == [
        *("0", "4140", "4", "●", "serving", "2h02m", "123,456", "523", "2", "10", "31%", "40.0M"),
    ]
    assert row(text, "1 4141")[6:9] == ["9,000,000", "1.3", "0"]
    assert row(text, "all") == ["all", "9,123,456", "524", "2", "20", "128%", "81.0M"]


def test_memory_is_what_the_worker_says_where_the_system_tells_nothing() -> None:
    text = shown(TWO)
    assert row(text, "slot pid")[-1] == "RSS"
    assert row(text, "0 4140")[-2:] == ["-", "60.0M"]
    assert "memory" not in text.splitlines()[1]


def test_memory_of_one_kind_only_is_added_up() -> None:
    usage = {4140: Usage(1.0, 40 * MIB, 30 * MIB, 60 * MIB), 4141: Usage(1.0, rss=61 * MIB)}
    text = shown(Sample(TWO, usage))
    assert row(text, "slot pid")[-1] == "RSS"
    assert row(text, "all")[-1] == "121M"


def test_a_slot_without_a_worker_is_seen() -> None:
    assert row(shown(status(worker(0, 4140))), "1") == ["1", "-", "-", "●", "empty"]


def test_a_worker_beyond_the_slots_that_are_wanted_is_seen() -> None:
    text = shown(status(worker(0, 4140), worker(1, 4141), slots=1))
    assert row(text, "1 4141")


def test_a_slot_that_the_kernel_leaves_out_says_so() -> None:
    stalled = worker(1, 4141, stage="stalled")
    text = shown(status(worker(0, 4140), stalled, slots_out=[1]))
    assert row(text, "1 4141")[3:6] == ["●", "stalled", "out"]


def test_a_worker_that_has_no_process_yet_is_seen() -> None:
    text = shown(status(worker(0, 0, stage="booting", serving_s=None, silent_s=None, memory=0)))
    assert row(text, "0 -") == [
        "0",
        "-",
        "4",
        "●",
        "booting",
        "-",
        "123,456",
        "-",
        "2",
        "10",
        "-",
        "-",
    ]


def test_websockets_are_shown_once_workers_count_them() -> None:
    text = shown(status(worker(0, 4140, websockets=7), worker(1, 4141, websockets=8)))
    assert "ws" in row(text, "slot pid")
    assert row(text, "all")[-3:] == ["15", "-", "120M"]


@pytest.mark.parametrize(
    ("last", "line"),
    [
        (
            {"generation": 4, "ok": True, "why": "", "ago_s": 44.0},
            "last reload generation 4 took over 44s ago",
        ),
        (
            {"generation": 5, "ok": False, "why": "no\x1b[31m module", "ago_s": 4.0},
            r"last reload generation 5 was given up 4.0s ago: no\x1b[31m module",
        ),
    ],
)
def test_the_last_reload_is_shown_with_its_end(last: dict[str, Any], line: str) -> None:
    assert line in shown(status(last_reload=last))


def test_a_reload_shows_how_many_are_ready() -> None:
    coming = [worker(0, 4144, generation=5, stage="booting"), worker(1, 4145, generation=5)]
    text = shown(status(*coming, *TWO["workers"], state="reloading", coming=5))
    assert "generation 5 ━━━━━━━━━━━━             1 of 2 ready" in text


def test_a_probation_shows_what_is_left_of_it() -> None:
    text = shown(status(*TWO["workers"], state="probation", coming=5, probation_s=2.1))
    assert "generation 5 on probation 2.1s to go; the old workers wait" in text


def test_what_drains_stands_apart_with_its_progress() -> None:
    going = worker(0, 4130, stage="draining", leaving=True, left_s=25.0, open_at_drain=20)
    idle = worker(1, 4131, stage="draining", leaving=True, left_s=2.0, open_at_drain=0)
    told = worker(1, 4132, stage="leaving", leaving=True, left_s=3.0)
    text = shown(status(*TWO["workers"], going, {**idle, "connections": 0}, told))
    assert row(text, "all")[1:] == ["9,123,456", "-", "2", "20", "-", "120M"]
    head, _, below = text.partition("leaving: 3 workers ─")
    assert "4130" not in head
    assert row(below, "0 4130") == [
        *("0", "4130", "4", "●", "draining", "━" * 12, "10", "of", "20", "25s"),
    ]
    assert row(below, "1 4131")[5:] == ["━" * 24, "0", "of", "0", "2.0s"]
    assert row(below, "1 4132") == ["1", "4132", "4", "●", "leaving", "10", "3.0s"]


def test_more_connections_than_at_first_are_no_progress() -> None:
    going = worker(0, 4130, stage="draining", leaving=True, left_s=25.0, open_at_drain=4)
    assert row(shown(status(going)), "0 4130")[5:] == ["10", "of", "10", "25s"]


def test_on_a_low_terminal_what_drains_comes_first() -> None:
    going = worker(0, 4130, stage="draining", leaving=True, left_s=25.0, open_at_drain=20)
    many = status(*(worker(at, 5000 + at) for at in range(20)), going, slots=20)
    assert shown(many, height=40).index("leaving: 1 worker") > shown(many).index("5019")
    assert shown(many, height=24).index("leaving: 1 worker") < shown(many, height=24).index("5000")


def test_the_curve_is_as_long_as_there_is_room() -> None:
    history = tuple(float(at) for at in range(HISTORY))
    for width in (80, 200):
        (line,) = [
            x for x in shown(Sample(TWO, {}, {}, history), width=width).splitlines() if "█" in x
        ]
        assert line.endswith("█ 59/s, most 59/s")
        assert len(line) <= width
    assert "requests ▁" not in shown(Sample(TWO, {}, {}, (0.0, 0.0)))


def test_eighty_columns_hold_every_number() -> None:
    big = worker(
        511, 4194304, generation=123, requests=123_456_789, in_flight=99_999, connections=99_999
    )
    usage = {4194304: Usage(100.0, 99999 * MIB, 0, 0)}
    text = shown(Sample(status(big, slots=0), usage, {4194304: 99_999.0}), width=80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_plain_screens_are_ascii() -> None:
    going = worker(0, 4130, stage="draining", leaving=True, left_s=25.0, open_at_drain=20)
    booting = worker(0, 4144, generation=5, stage="booting")
    text = shown(
        Sample(status(*TWO["workers"], going, booting, coming=5), {}, {}, (1.0, 2.0, 3.0)),
        plain=True,
    )
    assert text.isascii()
    assert "############............  10 of 20" in text


def test_what_the_server_says_is_no_markup() -> None:
    text = shown(status(app="[bold]x[/]\x1b]0;title\x07:app", addresses=["unix:/[red]"]))
    assert r"[bold]x[/]\x1b]0;title\x07:app" in text
    assert "unix:/[red]" in text


def test_every_stage_and_state_has_its_colour() -> None:
    assert {stage.value for stage in Stage} <= set(STAGE_STYLES)
    state = Supervisor(slots=1, policy=Policy())
    assert status_of(state, {}, 0.0)["state"] in STATE_STYLES


def test_a_server_that_has_not_begun_can_be_shown() -> None:
    about = About("a:b", "1", 1, (), 0.0, 0.0)
    state = Supervisor(slots=2, policy=Policy())
    whole = {**about.facts(0.0), **status_of(state, {}, 0.0), "templates": []}
    assert "starting" in shown(Sampler(here=False).look(whole, 0.0))


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
