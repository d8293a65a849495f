"""Crews: when one counts as met, exchanged or whole again; and a real one, without a duration."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import procfs
from benchmarks.bars import PROCESS_BARS, Bar
from benchmarks.processes import measures, page
from benchmarks.processes.answers import QUIET_S, Answer, Exchange, Meeting, Replacement
from benchmarks.processes.asker import pid_in
from benchmarks.processes.crews import APP, CREWS, ROUTES
from benchmarks.processes.measures import REPLACE_RATE, Crew, asking, meet
from benchmarks.report import Run
from benchmarks.running import free_port, launched
from benchmarks.samples import Sample
from benchmarks.servers import Order

OLD, OLD_TOO, NEW, NEW_TOO = 1, 2, 3, 4


def answer(at: float, pid: int, *, asked_at: float | None = None) -> Answer:
    return Answer(at if asked_at is None else asked_at, at, pid)


def test_a_crew_is_met_when_each_has_answered_a_connection_of_now() -> None:
    meeting = Meeting(size=2, since=10.0)
    assert not meeting.hear(answer(10.1, OLD))
    assert not meeting.hear(answer(10.2, OLD_TOO, asked_at=9.9))
    assert not meeting.hear(answer(10.3, 0))
    assert meeting.hear(answer(10.4, OLD_TOO))
    assert meeting.pids == {OLD, OLD_TOO}


def test_an_exchange_is_over_with_the_first_answer_of_the_last_new_worker() -> None:
    exchange = Exchange({OLD, OLD_TOO}, size=2)
    heard = [exchange.hear(answer(*one)) for one in [(1, OLD), (2, NEW), (3, NEW_TOO), (4, NEW)]]
    assert heard == [False, False, False, True]
    assert exchange.over_at == 3


def test_an_old_worker_that_still_answers_keeps_an_exchange_from_being_over() -> None:
    exchange = Exchange({OLD}, size=1)
    assert not exchange.hear(answer(1.0, NEW))
    assert not exchange.hear(answer(1.0 + QUIET_S / 2, OLD))
    assert not exchange.hear(answer(1.0 + QUIET_S, NEW))
    assert exchange.over_at == 1.0 + QUIET_S / 2
    assert exchange.hear(answer(1.0 + 2 * QUIET_S, NEW))


def test_new_workers_are_waited_for_though_no_old_one_answers_any_more() -> None:
    exchange = Exchange({OLD, OLD_TOO}, size=2)
    assert not exchange.hear(answer(1.0, NEW))
    assert not exchange.hear(answer(99.0, NEW))
    assert exchange.over_at is None


def test_a_connection_without_an_answer_counts_as_failed() -> None:
    exchange = Exchange({OLD}, size=1)
    replacement = Replacement({OLD})
    assert not exchange.hear(answer(1.0, 0))
    assert not replacement.hear(answer(1.0, 0))
    assert (exchange.failed, replacement.failed) == (1, 1)


def test_a_worker_is_replaced_when_a_process_answers_that_was_not_there() -> None:
    replacement = Replacement({OLD, OLD_TOO})
    assert not replacement.hear(answer(1.0, OLD_TOO))
    assert replacement.hear(answer(2.0, NEW))
    assert (replacement.pid, replacement.over_at) == (NEW, 2.0)


@pytest.mark.parametrize(
    ("told", "pid"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n42", 42),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 0),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n42", 0),
        (b"", 0),
    ],
)
def test_only_a_whole_answer_names_a_process(told: bytes, pid: int) -> None:
    assert pid_in(told) == pid


def test_every_crew_has_as_many_workers_as_are_ordered() -> None:
    order = Order(APP, 4321, Path("some.log"), workers=7)
    for crew in CREWS:
        line = crew.command(order)
        assert line[line.index("--workers") + 1] == "7"
        assert "some.log" not in line


@pytest.mark.parametrize("bar", PROCESS_BARS, ids=lambda bar: bar.text)
def test_every_bar_of_crews_names_a_case_and_a_crew(bar: Bar) -> None:
    assert bar.case in measures.CASES
    assert {bar.server, bar.against or bar.server} <= {crew.name for crew in CREWS}


def test_the_page_has_medians_with_their_ranges_and_says_what_is_missing() -> None:
    values = enumerate((12.0, 30.0, 11.0), 1)
    run = Run(
        command="python -m benchmarks.processes",
        day="2026-01-31",
        machine={"CPU": "Some Model"},
        versions={"uvicorn": "0.54.0"},
        settings={"rounds": 3},
        samples=[
            Sample("processes_replace", "pounce", turn, {"replace_ms": at}) for turn, at in values
        ],
        failures=[],
    )
    text = page.markdown(run)
    assert "| pounce | 12 (11 … 30) | failed |\n" in text
    assert "| killed worker until its successor answers, ms | <= 50.00 | 12.00 |" in text
    assert "uvicorn |" not in text


def test_a_real_crew_is_met_worked_killed_and_reloaded(tmp_path: Path) -> None:
    """Two workers of pounce; how long it takes is nobody's business here."""
    port = free_port()
    order = Order(APP, port, tmp_path / "access.log", workers=2)
    with launched(CREWS[0].command(order), port=port, log=tmp_path / "log") as process:
        crew = Crew(port, process.pid, size=2)
        with asking(port, REPLACE_RATE) as answers:
            before, _ = meet(crew, answers)
        memory = measures.memory(crew)
        measures.replacement(crew)
        with asking(port, REPLACE_RATE) as answers:
            between, _ = meet(crew, answers)
        exchanged = measures.reload(crew)
        with asking(port, REPLACE_RATE) as answers:
            after, _ = meet(crew, answers)
        assert after <= {*procfs.tree(process.pid)}
    assert len(before & between) == 1  # the other one was killed
    assert not between & after
    assert memory["worker_pss_mib"] * 2 < memory["pss_mib"]
    assert memory["processes"] == 4  # the master and its template
    assert exchanged["reload_failed"] == 0


def test_the_application_has_the_routes_that_are_asked() -> None:
    from benchmarks.apps import fastapi_big

    assert fastapi_big.ROUTES == ROUTES
