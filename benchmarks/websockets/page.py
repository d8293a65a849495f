"""A run as the section of docs/performance.md about WebSockets; pure: writes no file."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Final

from benchmarks import report, samples
from benchmarks.bars import WEBSOCKET_BARS
from benchmarks.plot import Panel, Row
from benchmarks.report import NOISY, Run
from benchmarks.websockets.cases import CASES, Case
from benchmarks.websockets.servers import SERVERS, TITLES


@dataclass(frozen=True, slots=True)
class Column:
    """One metric: its median and, in words, the range that the rounds spanned."""

    metric: str
    heading: str
    digits: int = 0
    spread: bool = False

    def cell(self, run: Run, case: str, server: str) -> str:
        values = samples.by_round(run.samples, case, server, self.metric).values()
        if not values:
            return "failed"

        def show(value: float) -> str:
            return f"{value:,.{self.digits}f}"

        middle = show(statistics.median(values))
        if not self.spread or len(values) == 1:
            return middle
        return f"{middle} ({show(min(values))} … {show(max(values))})"


COLUMNS: Final = (
    Column("cpu_us", "CPU µs/message", 1, spread=True),
    Column("rps", "messages/s"),
    Column("busy", "core busy", 2),
    Column("pss_mib", "PSS MiB", 1),
    Column("reach_ms", "until all have heard it, ms", 1),
    Column("p50_us", "p50 µs", spread=True),
    Column("p99_us", "p99 µs", spread=True),
    Column("p999_us", "p99.9 µs", spread=True),
    Column("rate", "messages/s"),
    Column("paced_cpu_us", "CPU µs/message", 1),
    Column("idle_pss_kib", "KiB PSS/WebSocket", 1, spread=True),
    Column("idle_rss_kib", "KiB RSS/WebSocket", 1),
)

# Who costs so many times the median is in the tables, and not drawn.
OFF_SCALE: Final = 10


def case_table(run: Run, case: Case) -> str:
    """Servers down, metrics across; empty if the run did not have the case."""
    present = [sample for sample in run.samples if sample.case == case.name]
    failed = {failure.server for failure in run.failures if failure.case == case.name}
    metrics = {metric for sample in present for metric in sample.values}
    columns = [column for column in COLUMNS if column.metric in metrics]
    rows = [
        [server.title, *(column.cell(run, case.name, server.name) for column in columns)]
        for server in SERVERS
        if server.name in failed | {sample.server for sample in present}
    ]
    return report.table(["server", *(column.heading for column in columns)], rows) if rows else ""


def loaded(run: Run) -> list[Case]:
    """The cases that have a CPU time per message."""
    return [
        case
        for case in CASES
        if any(sample.case == case.name and "cpu_us" in sample.values for sample in run.samples)
    ]


def overview(run: Run) -> str:
    """CPU per message: servers down, cases across."""
    cases = loaded(run)
    rows = []
    for server in SERVERS:
        figures = [samples.median(run.samples, case.name, server.name, "cpu_us") for case in cases]
        if any(figure is not None for figure in figures):
            cells = ["" if figure is None else f"{figure:.1f}" for figure in figures]
            rows.append([server.title, *cells])
    return report.table(["CPU µs/message", *(case.title for case in cases)], rows) if rows else ""


def panels(run: Run) -> list[Panel]:
    found = []
    for case in loaded(run):
        rows = []
        for server in SERVERS:
            value = samples.median(run.samples, case.name, server.name, "cpu_us")
            if value is not None:
                role = "own" if server.name == "pounce" else "peer"
                rows.append(Row(server.title, value, role if server.runs_asgi else "floor"))
        # One that unmasks byte by byte in Python would make lines of all other bars.
        most = OFF_SCALE * statistics.median([row.value for row in rows])
        found.append(Panel(case.title, [row for row in rows if row.value <= most]))
    return found


def notes(run: Run) -> list[str]:
    """What a reader must know before trusting the numbers."""
    found = [
        f"{TITLES[failure.server]} failed in {failure.case}, round {failure.round}."
        for failure in run.failures
    ]
    disturbed = [sample for sample in run.samples if sample.values.get("foreign", 0.0) > NOISY]
    if disturbed:
        worst = max(sample.values["foreign"] for sample in disturbed)
        found.append(
            f"In {len(disturbed)} of {len(run.samples)} measurements others took more than "
            f"{NOISY:.0%} of the server's core (at most {worst:.0%}): CPU per message stands, "
            "messages/s and latencies are too low there."
        )
    return found


def markdown(run: Run, *, plot: str) -> str:
    """From the third heading level down."""
    parts = [
        *report.origin(run),
        *(f"Note: {note}\n" for note in notes(run)),
        report.bars_table(report.verdicts_of(run, WEBSOCKET_BARS)),
        f"![CPU microseconds per message, by case and server]({plot})\n",
        overview(run),
    ]
    for case in CASES:
        if rows := case_table(run, case):
            parts += [f"### {case.title} (`{case.name}`)\n", rows]
    return "\n".join(parts)
