"""A run as the section of docs/performance.md about crews; pure: writes no file."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from benchmarks import report, samples
from benchmarks.bars import PROCESS_BARS
from benchmarks.processes.crews import CREWS, TITLES
from benchmarks.report import Run


@dataclass(frozen=True, slots=True)
class Column:
    """One metric: its median and, in words, the range that the rounds spanned."""

    case: str
    metric: str
    heading: str
    digits: int
    spread: bool = True

    def cell(self, run: Run, server: str) -> str:
        values = samples.by_round(run.samples, self.case, server, self.metric).values()
        if not values:
            return "failed"

        def show(value: float) -> str:
            return f"{value:.{self.digits}f}"

        middle = show(statistics.median(values))
        if not self.spread or min(values) == max(values):
            return middle
        return f"{middle} ({show(min(values))} … {show(max(values))})"


@dataclass(frozen=True, slots=True)
class Table:
    """One case: servers down, metrics across."""

    title: str
    columns: tuple[Column, ...]


MEMORY, RELOAD, REPLACE = "processes_pss", "processes_reload", "processes_replace"
TABLES: Final = (
    Table(
        "Memory",
        (
            Column(MEMORY, "pss_mib", "all processes PSS MiB", 1),
            Column(MEMORY, "worker_pss_mib", "one worker PSS MiB", 1, spread=False),
            Column(MEMORY, "processes", "processes", 0, spread=False),
        ),
    ),
    Table(
        "Reload",
        (
            Column(RELOAD, "reload_s", "until all workers are new, s", 2),
            Column(RELOAD, "reload_failed", "connections that failed", 0),
            Column(RELOAD, "meet_ms", "to meet all workers, ms", 0, spread=False),
        ),
    ),
    Table(
        "Replacement of a killed worker",
        (
            Column(REPLACE, "replace_ms", "until a new process answers, ms", 0),
            Column(REPLACE, "replace_failed", "connections that failed", 0),
        ),
    ),
)


def table(run: Run, what: Table, present: Collection[str]) -> str:
    rows = [
        [TITLES[server.name], *(column.cell(run, server.name) for column in what.columns)]
        for server in CREWS
        if server.name in present
    ]
    return report.table(["server", *(column.heading for column in what.columns)], rows)


def markdown(run: Run) -> str:
    """From the third heading level down."""
    present = {sample.server for sample in run.samples} | {
        failure.server for failure in run.failures
    }
    parts = [
        *report.origin(run),
        *(f"Note: {TITLES[one.server]} failed in round {one.round}.\n" for one in run.failures),
        report.bars_table(report.verdicts_of(run, PROCESS_BARS)),
    ]
    for what in TABLES:
        parts += [f"### {what.title}\n", table(run, what, present)]
    return "\n".join(parts)
