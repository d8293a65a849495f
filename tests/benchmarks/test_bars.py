"""Medians, ratios within a round, and the verdict on each bar."""

from __future__ import annotations

import pytest

from benchmarks import samples
from benchmarks.bars import BARS, Bar, judge
from benchmarks.cases import CASES
from benchmarks.samples import Sample
from benchmarks.servers import SERVERS


def cost(server: str, *values: float, case: str = "get13") -> list[Sample]:
    """One sample a round."""
    return [Sample(case, server, turn, {"cpu_us": value}) for turn, value in enumerate(values, 1)]


HALF = Bar("get13", "half", "cpu_us", "<=", 0.5, against="uvicorn")


def test_a_median_is_over_the_rounds_of_one_server_in_one_case() -> None:
    measured = [*cost("pounce", 9, 30, 10), *cost("uvicorn", 1), *cost("pounce", 1, case="x")]
    assert samples.median(measured, "get13", "pounce", "cpu_us") == 10
    assert samples.median(measured, "get13", "granian", "cpu_us") is None
    assert samples.median(measured, "get13", "pounce", "rps") is None


def test_a_ratio_pairs_values_of_the_same_round_only() -> None:
    measured = [*cost("pounce", 10, 20, 90), *cost("uvicorn", 20, 40)]
    assert samples.ratios(measured, "get13", "cpu_us", "pounce", "uvicorn") == [0.5, 0.5]


def test_a_verdict_is_the_median_ratio_with_its_range() -> None:
    measured = [*cost("pounce", 10, 9, 12), *cost("uvicorn", 20, 20, 20)]
    verdict = judge(HALF, measured)
    assert (verdict.figure, verdict.least, verdict.most) == (0.5, 0.45, 0.6)
    assert verdict.passed is True


@pytest.mark.parametrize(
    ("relation", "passed"), [("<", False), ("<=", True), (">=", True)], ids=str
)
def test_a_figure_on_the_limit_passes_unless_it_must_be_below(relation: str, passed: bool) -> None:
    bar = Bar("get13", "half", "cpu_us", relation, 0.5, against="uvicorn")  # type: ignore[arg-type]
    assert judge(bar, [*cost("pounce", 10), *cost("uvicorn", 20)]).passed is passed


def test_a_figure_past_the_limit_fails() -> None:
    assert judge(HALF, [*cost("pounce", 11), *cost("uvicorn", 20)]).passed is False


def test_a_bar_without_a_peer_judges_the_figure_itself() -> None:
    bar = Bar("get13", "ten", "cpu_us", "<=", 10.0)
    assert judge(bar, cost("pounce", 12, 9, 10)).passed is True


def test_what_was_not_measured_is_neither_passed_nor_failed() -> None:
    verdict = judge(HALF, cost("pounce", 10))
    assert (verdict.figure, verdict.passed) == (None, None)


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: bar.text)
def test_every_bar_names_a_case_and_servers_that_take_part_in_it(bar: Bar) -> None:
    (case,) = [case for case in CASES if case.name == bar.case]
    taking_part = {server.name for server in case.servers([server.name for server in SERVERS])}
    assert {bar.server, bar.against or bar.server} <= taking_part
