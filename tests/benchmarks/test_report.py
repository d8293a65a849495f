"""A run as Markdown, JSON and plot: what was measured is there, what was not is said."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarks import plot, report
from benchmarks.report import Run
from benchmarks.samples import Failure, Sample


def sample(server: str, cpu_us: float, *, foreign: float = 0.0) -> Sample:
    return Sample("get13", server, 1, {"cpu_us": cpu_us, "rps": 50_000.0, "foreign": foreign})


RUN = Run(
    command="python -m benchmarks --cases get13",
    day="2026-01-31",
    machine={"CPU": "Some Model", "kernel": "Linux 6.1"},
    versions={"uvicorn": "0.54.0"},
    settings={"rounds": 1, "seconds": 3},
    samples=[sample("uvicorn", 20.0), sample("pounce", 10.0), sample("floor", 6.0)],
    failures=[],
)


def test_a_run_survives_its_own_json() -> None:
    run = replace(RUN, failures=[Failure("get13", "granian", 1, "refused")])
    assert report.from_json(report.to_json(run)) == run


def test_the_report_has_command_machine_versions_and_a_row_for_each_server() -> None:
    text = report.markdown(RUN, plot="some.svg")
    for part in [RUN.command, "Some Model", "Linux 6.1", "uvicorn 0.54.0", "(some.svg)"]:
        assert part in text
    assert "| pounce | 10.0 | 50,000 |\n" in text


def test_a_bar_that_holds_passes_and_one_that_was_not_measured_says_so() -> None:
    text = report.bars_table(report.verdicts_of(RUN))
    ours = [line for line in text.splitlines() if "13-byte GET: CPU per request / uvicorn" in line]
    assert [line.split("|")[3:6] for line in ours] == [[" 0.50 ", " 0.50 … 0.50 ", " pass "]]
    assert "not measured" in text


def test_a_bar_that_does_not_hold_is_shouted() -> None:
    run = replace(RUN, samples=[sample("uvicorn", 20.0), sample("pounce", 12.0)])
    assert "**FAIL**" in report.bars_table(report.verdicts_of(run))


def test_a_failed_server_keeps_its_row_and_is_noted() -> None:
    run = replace(RUN, failures=[Failure("get13", "granian", 1, "refused")])
    text = report.markdown(run, plot="some.svg")
    assert "| granian | failed | failed |\n" in text
    assert "Note: granian failed in get13, round 1." in text


def test_a_core_shared_with_others_is_noted() -> None:
    assert report.notes(RUN) == []
    noisy = replace(RUN, samples=[sample("pounce", 10.0, foreign=0.2)])
    (note,) = report.notes(noisy)
    assert "1 of 1 measurements" in note
    assert "at most 20%" in note


def test_only_the_measured_part_of_the_page_is_replaced() -> None:
    page = "top\n<!-- measured -->\nold\n<!-- end of measured -->\nbottom\n"
    new = report.published(page, "new\n")
    assert new == "top\n<!-- measured -->\n\nnew\n\n<!-- end of measured -->\nbottom\n"
    assert report.published(new, "new\n") == new


def test_a_page_without_its_marks_is_not_touched() -> None:
    with pytest.raises(ValueError, match="the page has no"):
        report.published("a page\n", "new\n")


def test_the_longest_bar_fills_the_panel_and_the_others_keep_the_scale() -> None:
    drawn = ElementTree.fromstring(plot.draw("a < b", report.panels(RUN)))
    widths = {
        bar.attrib["class"]: float(bar.attrib["width"])
        for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")
    }
    assert widths["own"] * 2 == pytest.approx(widths["peer"], abs=0.1)
    assert widths["floor"] / widths["peer"] == pytest.approx(0.3, abs=0.001)
