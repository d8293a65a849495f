"""Which servers take part in which case, and with which command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import cases
from benchmarks.cases import CASES, Case
from benchmarks.servers import NAMES, SERVERS, TITLES

BY_NAME = {case.name: case for case in CASES}
EVERYONE = tuple(TITLES)


def names_in(case: str, *wanted: str) -> list[str]:
    return [server.name for server in BY_NAME[case].servers(wanted)]


def test_the_floor_stays_out_where_it_has_no_answer() -> None:
    assert "floor" in names_in("get13", *EVERYONE)
    assert "floor" not in names_in("post1k", *EVERYONE)


def test_access_logs_are_measured_in_pairs_and_in_their_own_case_only() -> None:
    pairs = names_in("access_log", *NAMES)
    assert pairs[:4] == ["pounce", "pounce-log", "uvicorn", "uvicorn-log"]
    assert {name for name in names_in("get13", *NAMES) if name.endswith("-log")} == set()


def test_a_server_that_was_not_asked_for_is_not_run() -> None:
    assert names_in("access_log", "pounce", "hypercorn") == ["pounce", "pounce-log"]
    assert names_in("get13", "uvicorn") == ["uvicorn"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_command_line_names_the_port_and_only_the_logging_ones_the_log(case: Case) -> None:
    order = case.order(4321, Path("some.log"))
    for server in SERVERS:
        line = " ".join(server.command(order))
        assert "4321" in line
        assert server.logs_of or "some.log" not in line


def test_the_answers_of_the_cases_have_the_sizes_in_their_titles() -> None:
    sizes = {case.name: len(case.load.exchange.answer) for case in cases.CASES}
    assert (sizes["get13"], sizes["get10k"], sizes["post1k"]) == (13, 10240, 1024)
    assert BY_NAME["upload64k"].load.exchange.body == 65536
