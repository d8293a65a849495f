"""A run as the section of docs/performance.md about HTTP/2; pure: writes no file."""

from __future__ import annotations

from typing import Final

from benchmarks import report, samples
from benchmarks.bars import HTTP2_BARS
from benchmarks.http2.cases import CASES, Case
from benchmarks.http2.servers import SERVERS
from benchmarks.report import Column, Run, percent, tenths, whole

COLUMNS: Final = (
    Column("cpu_us", "CPU µs", tenths),
    Column("rps", "per second", whole),
    Column("cpu_ms", "CPU ms", tenths),
    Column("mib_s", "MiB/s", whole),
    Column("busy", "core busy", percent),
)
TITLES: Final = {server.name: server.title for server in SERVERS}


def table(run: Run, case: Case) -> str:
    """Servers down, metrics across; empty if the run did not have the case."""
    present = [sample for sample in run.samples if sample.case == case.name]
    failed = {failure.server for failure in run.failures if failure.case == case.name}
    metrics = {metric for sample in present for metric in sample.values}
    columns = [column for column in COLUMNS if column.metric in metrics]
    rows = []
    for server in SERVERS:
        if server.name not in {sample.server for sample in present} | failed:
            continue
        cells = []
        for column in columns:
            value = samples.median(run.samples, case.name, server.name, column.metric)
            cells.append("failed" if value is None else column.show(value))
        rows.append([server.title, *cells])
    return report.table(["server", *(column.heading for column in columns)], rows) if rows else ""


def failures(run: Run) -> list[str]:
    """One line for each server and case that failed, with the first reason."""
    first: dict[tuple[str, str], str] = {}
    for one in run.failures:
        first.setdefault((one.case, one.server), one.why)
    return [
        f"Note: {TITLES[server]} failed in {case}: {why}\n" for (case, server), why in first.items()
    ]


def markdown(run: Run) -> str:
    """From the third heading level down."""
    parts = [
        *report.origin(run),
        *failures(run),
        *(f"Note: {note}\n" for note in report.disturbance(run)),
        report.bars_table(report.verdicts_of(run, HTTP2_BARS)),
    ]
    for case in CASES:
        if rows := table(run, case):
            parts += [f"### {case.title} (`{case.name}`)\n", rows]
    return "\n".join(parts)
