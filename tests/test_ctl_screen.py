"""What `pounce ctl` shows of a given status: every worker and slot, whatever the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pounce.ctl.sample import HISTORY, Sample, Sampler, Usage
from pounce.ctl.screen import STAGE_STYLES, STATE_STYLES, screen
from pounce.supervisor.crew import Policy
from pounce.supervisor.stages import Stage
from pounce.supervisor.state import Supervisor
from pounce.supervisor.status import About, status_of
from tests.support.pages import ROOT
from tests.support.status import MIB, TWO, USAGE, status, websockets, worker


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


def test_websockets_are_shown_once_there_was_one() -> None:
    assert "ws" not in row(shown(TWO), "slot pid")
    assert "websockets" not in shown(TWO)
    text = shown(
        status(
            worker(0, 4140, websockets=websockets(open=7, opened=9)),
            worker(1, 4141, websockets=websockets(open=8, opened=8)),
        )
    )
    assert "ws" in row(text, "slot pid")
    assert row(text, "all")[-3:] == ["15", "-", "120M"]


def test_a_pounce_that_does_not_know_websockets_is_shown_without() -> None:
    old = worker(0, 4140, stage="draining", leaving=True, left_s=2.0, open_at_drain=20)
    for name in ("websockets", "websockets_at_drain"):
        del old[name]
    before = status(worker(0, 4141), old)
    del before["totals"]
    text = shown(before)
    assert " ws" not in text
    assert row(text, "0 4140")[6:] == ["10", "of", "20", "2.0s"]


def test_what_websockets_have_done_is_summed_up() -> None:
    counts = websockets(
        open=15,
        opened=1_234,
        closed={"1000": 1_200, "1006": 19},
        messages_received=20_000_000,
        messages_sent=12,
        bytes_received=3 << 20,
        bytes_sent=345,
        deflate_ratio=3.14,
    )
    totals = {"requests": 1, "accepted": 1, "websockets": counts}
    text = shown(status(worker(0, 4140), totals=totals))
    assert "websockets 15 open, 1,234 in all   closed with 1000: 1,200  1006: 19\n" in text
    assert "messages 20.0M received (3.0M)   12 sent (345B)   deflate 3.1\n" in text
    counts |= {"closed": {}, "deflate_ratio": None}
    text = shown(status(worker(0, 4140), totals=totals))
    assert "12 sent (345B)\n" in text
    assert "closed with" not in text


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
    assert "generation 5 is on probation for 2.1s; the old workers wait" in text


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


def test_what_drains_shows_its_websockets_apart() -> None:
    drains: dict[str, Any] = {"stage": "draining", "leaving": True, "left_s": 25.0}
    going = worker(
        0, 4130, **drains, open_at_drain=24, websockets_at_drain=20,
        connections=12, websockets=websockets(open=10, opened=30),
    )  # fmt: skip
    done = worker(1, 4131, **drains, open_at_drain=0, websockets_at_drain=0, connections=0)
    told = worker(1, 4132, **drains)
    text = shown(status(going, done, told), plain=True)
    _, _, below = text.partition("leaving: 3 workers -")
    assert row(below, "slot pid") == [
        *("slot", "pid", "gen", "stage", "conns", "ws", "time", "left"),
    ]
    assert row(below, "0 4130")[5:] == [
        *("######......", "2", "of", "4", "10", "of", "20", "25s"),
    ]
    assert row(below, "1 4131")[5:] == ["############", "0", "of", "0", "0", "of", "0", "25s"]
    assert row(below, "1 4132")[5:] == ["10", "0", "25s"]


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
        511, 4194304, generation=123, requests=123_456_789, in_flight=99_999, connections=99_999,
        websockets=websockets(open=99_999, opened=99_999),
    )  # fmt: skip
    usage = {4194304: Usage(100.0, 99999 * MIB, 0, 0)}
    left = {"leaving": True, "left_s": 11.0, "stage": "draining"}
    going = {**big, **left, "open_at_drain": 99_999, "websockets_at_drain": 90_000}
    text = shown(Sample(status(big, going, slots=0), usage, {4194304: 99_999.0}), width=80)
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


def test_the_page_shows_a_screen_as_it_is() -> None:
    old = (
        (3_021_873, 0, 4, 38.5),
        (3_020_114, 0, 3, 38.2),
        (3_019_950, 1, 5, 38.9),
        (3_022_307, 0, 2, 38.4),
    )
    new = ((471, 2, 11, 31.2), (482, 3, 12, 31.0), (470, 1, 10, 31.1), (470, 2, 11, 31.3))
    workers, usage, rates = [], {4121: Usage(0.4, 9 * MIB)}, {}
    for generation, first, crew in ((4, 4140, old), (5, 4150, new)):
        for slot, (requests, busy, connections, size) in enumerate(crew):
            pid, comes = first + slot, generation == 5
            workers.append(
                worker(
                    slot,
                    pid,
                    generation=generation,
                    stage="serving" if comes else "paused",
                    serving_s=0.9 if comes else 6720.0,
                    requests=requests,
                    in_flight=busy,
                    connections=connections,
                    websockets=websockets(open=connections // 3, opened=connections // 2),
                )
            )
            rates[pid] = requests / 0.9 if comes else 0.0
            usage[pid] = Usage(float(rates[pid] * 0.06 + busy % 2), int(size * MIB))
    workers.sort(key=lambda one: (one["slot"], one["generation"]))
    left = {
        "leaving": True,
        "left_s": 11.0,
        "open_at_drain": 12,
        "connections": 4,
        "websockets_at_drain": 8,
        "websockets": websockets(open=3, opened=1_804),
    }
    talked = websockets(
        open=19,
        opened=14_202,
        closed={"1000": 2_107, "1001": 11_020, "1006": 904, "1012": 152},
        messages_received=2_310_422,
        messages_sent=6_120_884,
        bytes_received=271 << 20,
        bytes_sent=1_804 << 20,
        deflate_ratio=3.21,
    )
    shown_status = status(
        *workers,
        worker(2, 4098, generation=3, stage="draining", **left),
        version="0.1.0",
        state="probation",
        coming=5,
        slots=4,
        probation_s=2.1,
        last_reload={"generation": 4, "ok": True, "why": "", "ago_s": 6720.0},
        totals={"requests": 0, "accepted": 0, "websockets": talked},
    )
    history = (*(float(900 + at * 40 + at % 3 * 150) for at in range(24)), sum(rates.values()))
    text = shown(Sample(shown_status, usage, rates, history))
    assert text in (ROOT / "docs/ctl.md").read_text("utf-8"), text
