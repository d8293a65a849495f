"""A run as JSON, as Markdown and as panels of the plot; pure: writes no file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks import samples
from benchmarks.bars import BARS, Bar, Verdict, judge
from benchmarks.cases import CASES, Case
from benchmarks.plot import Panel, Row
from benchmarks.samples import Failure, Sample
from benchmarks.servers import SERVERS, TITLES

# More of the server's core taken by others than this and a run's absolute numbers are in doubt.
NOISY: Final = 0.03


@dataclass(frozen=True, slots=True)
class Run:
    """Everything one command measured, and what it takes to repeat it."""

    command: str
    day: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, float]
    samples: list[Sample]
    failures: list[Failure]


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of a table."""

    metric: str
    heading: str
    show: Callable[[float], str]


def whole(value: float) -> str:
    return f"{value:,.0f}"


def tenths(value: float) -> str:
    return f"{value:.1f}"


def percent(value: float) -> str:
    return f"{value:.0%}"


COLUMNS: Final = (
    Column("cpu_us", "CPU µs/request", tenths),
    Column("rps", "requests/s", whole),
    Column("p50_us", "p50 µs", whole),
    Column("p99_us", "p99 µs", whole),
    Column("busy", "core busy", percent),
    Column("pss_mib", "PSS MiB", tenths),
    Column("idle_pss_kib", "KiB PSS/connection", tenths),
    Column("idle_rss_kib", "KiB RSS/connection", tenths),
    Column("worker_pss_mib", "worker PSS MiB", tenths),
    Column("worker_rss_mib", "worker RSS MiB", tenths),
    Column("tree_pss_mib", "all processes PSS MiB", tenths),
)


def to_json(run: Run, bars: Sequence[Bar] = BARS) -> str:
    verdicts = [
        {"bar": asdict(verdict.bar), "figure": verdict.figure, "passed": verdict.passed}
        for verdict in verdicts_of(run, bars)
    ]
    return json.dumps({**asdict(run), "bars": verdicts}, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Run:
    """What to_json() wrote; the verdicts are judged anew."""
    told: dict[str, Any] = json.loads(text)
    told.pop("bars")
    told["samples"] = [Sample(**sample) for sample in told["samples"]]
    told["failures"] = [Failure(**failure) for failure in told["failures"]]
    return Run(**told)


def verdicts_of(run: Run, bars: Sequence[Bar] = BARS) -> list[Verdict]:
    return [judge(bar, run.samples) for bar in bars]


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are numbers."""
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, rule, *rows)) + "\n"


def bars_table(verdicts: Sequence[Verdict]) -> str:
    words = {True: "pass", False: "**FAIL**", None: "not measured"}
    rows = []
    for verdict in verdicts:
        bar = verdict.bar
        aim = f" (aim {bar.aim:.2f})" if bar.aim is not None else ""
        figure, spread = "", ""
        if verdict.figure is not None:
            figure = f"{verdict.figure:.2f}"
            spread = f"{verdict.least:.2f} … {verdict.most:.2f}"
        limit = f"{bar.relation} {bar.limit:.2f}{aim}"
        rows.append([bar.text, limit, figure, spread, words[verdict.passed]])
    return table(["bar", "limit", "measured", "over the rounds", "verdict"], rows)


def case_table(run: Run, case: Case) -> str:
    """Servers down, metrics across; empty if the run did not have the case."""
    present = [sample for sample in run.samples if sample.case == case.name]
    failed = {failure.server for failure in run.failures if failure.case == case.name}
    measured = {sample.server for sample in present}
    metrics = {metric for sample in present for metric in sample.values}
    columns = [column for column in COLUMNS if column.metric in metrics]
    rows = []
    for server in [server.name for server in SERVERS if server.name in measured | failed]:
        cells = []
        for column in columns:
            value = samples.median(run.samples, case.name, server, column.metric)
            cells.append("failed" if value is None else column.show(value))
        rows.append([TITLES[server], *cells])
    return table(["server", *(column.heading for column in columns)], rows) if rows else ""


def overview(run: Run) -> str:
    """CPU per request: servers down, cases across."""
    cases = [case for case in loaded(run) if not case.access_logs]
    rows = []
    for server in SERVERS:
        figures = [samples.median(run.samples, case.name, server.name, "cpu_us") for case in cases]
        if any(figure is not None for figure in figures):
            cells = ["" if figure is None else f"{figure:.1f}" for figure in figures]
            rows.append([server.title, *cells])
    return table(["CPU µs/request", *(case.title for case in cases)], rows) if rows else ""


def loaded(run: Run) -> list[Case]:
    """The cases that have a CPU time per request."""
    return [
        case
        for case in CASES
        if any(sample.case == case.name and "cpu_us" in sample.values for sample in run.samples)
    ]


def panels(run: Run) -> list[Panel]:
    found = []
    for case in loaded(run):
        rows = []
        for server in SERVERS:
            value = samples.median(run.samples, case.name, server.name, "cpu_us")
            if value is not None:
                role = "own" if server.name.startswith("pounce") else "peer"
                rows.append(Row(server.title, value, "floor" if server.name == "floor" else role))
        found.append(Panel(case.title, rows))
    return found


def notes(run: Run) -> list[str]:
    """What a reader must know before trusting the numbers."""
    found = [
        f"{TITLES[failure.server]} failed in {failure.case}, round {failure.round}."
        for failure in run.failures
    ]
    return found + disturbance(run)


def disturbance(run: Run) -> list[str]:
    """How far the server's core was not its own."""
    disturbed = [sample for sample in run.samples if sample.values.get("foreign", 0.0) > NOISY]
    if disturbed:
        worst = max(sample.values["foreign"] for sample in disturbed)
        return [
            f"In {len(disturbed)} of {len(run.samples)} measurements others took more than "
            f"{NOISY:.0%} of the server's core (at most {worst:.0%}): CPU per request stands, "
            "requests/s and latencies are too low there."
        ]
    return []


def origin(run: Run) -> list[str]:
    """When, where and with what it was measured."""
    named = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    machine = ", ".join(f"{name}: {value}" for name, value in run.machine.items())
    settings = ", ".join(f"{name} {value:g}" for name, value in run.settings.items())
    return [
        f"Measured on {run.day} with `{run.command}` ({settings}).\n",
        f"Machine: {machine}.\n",
        f"Versions: {named}.\n",
    ]


def markdown(run: Run, *, plot: str) -> str:
    """The whole report, from the second heading level down."""
    parts = [
        *origin(run),
        *(f"Note: {note}\n" for note in notes(run)),
        "## Bars\n",
        bars_table(verdicts_of(run)),
        "## CPU per request\n",
        f"![CPU microseconds per request, by case and server]({plot})\n",
        overview(run),
        "## Each case\n",
    ]
    for case in CASES:
        if rows := case_table(run, case):
            parts += [f"### {case.title} (`{case.name}`)\n", rows]
    return "\n".join(parts)


def published(page: str, report: str, *, mark: str = "measured") -> str:
    """The documentation page with the part between its marks replaced."""
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    head, found, rest = page.partition(start)
    _, found_end, tail = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"the page has no {start.strip()} … {end.strip()}")
    return f"{head}{start}\n{report}\n{end}{tail}"
