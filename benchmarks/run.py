"""The command: rounds over cases over servers, one at a time; knows no way of measuring."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import machine, plot, report
from benchmarks.cases import CASES, Case
from benchmarks.loads import Plan, prove
from benchmarks.report import Run
from benchmarks.running import ROOT, BenchmarkError, free_port, running
from benchmarks.samples import Failure, Sample
from benchmarks.servers import NAMES, SERVERS, Server

RESULTS: Final = ROOT / "benchmarks" / "results"
PAGE: Final = ROOT / "docs" / "performance.md"
LEAST_LOG_LINE: Final = 20  # bytes; less for a request is no access log
PLOT: Final = ROOT / "docs" / "performance.svg"


def names(known: Sequence[str], what: str, given: str) -> list[str]:
    """A comma-separated choice, in the order of the tables."""
    wanted = given.split(",")
    if strange := [name for name in wanted if name not in known]:
        raise argparse.ArgumentTypeError(
            f"{what} is {', '.join(strange)}; it must be of {', '.join(known)}"
        )
    return [name for name in known if name in wanted]


def arguments(line: Sequence[str] | None) -> argparse.Namespace:
    case_names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything is measured, in turn")
    add("--seconds", type=int, default=5, help="length of one measurement, whole seconds")
    add("--cases", type=lambda given: names(case_names, "--cases", given), default=case_names)
    add("--servers", type=lambda given: names(NAMES, "--servers", given), default=list(NAMES))
    add("--quick", action="store_true", help="one round of one second: does it work at all?")
    add("--idle-connections", type=int, default=5000, help="connections held in idle_memory")
    add("--server-core", type=int, help="default: the last core this process may use")
    add("--load-core", type=int, help="default: the first")
    add("--name", help="file name in benchmarks/results; default: http1 if all, else scratch")
    add("--publish", action="store_true", help="put a partial run into docs/ too")
    add("--render", type=Path, metavar="JSON", help="measure nothing, write an old run anew")
    given = parser.parse_args(line)
    if given.quick:
        given.rounds, given.seconds = 1, 1
        given.idle_connections = min(given.idle_connections, 500)
    return given


def cores(server: int | None, load: int | None) -> tuple[int, int]:
    usable = sorted(os.sched_getaffinity(0))
    chosen = (usable[-1] if server is None else server, usable[0] if load is None else load)
    if chosen[0] == chosen[1]:
        raise BenchmarkError("server and load need a core each, and only one is to be had")
    return chosen


def measure(case: Case, server: Server, core: int, plan: Plan) -> dict[str, float]:
    """One server from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        access_log, output = Path(folder) / "access.log", Path(folder) / "output.log"
        command = server.command(case.order(port, access_log))
        with running(command, port=port, core=core, log=output) as started:
            prove(started, case.load.exchange)
            values = case.load.measure(started, plan)
        if server.logs_of:
            written = sum(path.stat().st_size for path in (access_log, output) if path.exists())
            if written < LEAST_LOG_LINE * values["rps"] * plan.seconds:
                raise BenchmarkError(f"only {written} bytes were logged: the access log was not on")
        return values


def measure_all(
    given: argparse.Namespace, core: int, plan: Plan
) -> tuple[list[Sample], list[Failure]]:
    """Rounds outermost: what changes on the machine over minutes meets every server alike."""
    measured: list[Sample] = []
    failures: list[Failure] = []
    cases = [case for case in CASES if case.name in given.cases]
    for turn in range(1, given.rounds + 1):
        for case in cases:
            for server in case.servers(given.servers):
                try:
                    values = measure(case, server, core, plan)
                except (BenchmarkError, OSError) as error:
                    failures.append(
                        Failure(case.name, server.name, turn, str(error).split("\n")[0])
                    )
                    say(f"{turn} {case.name:12} {server.name:13} FAILED: {error}")
                else:
                    measured.append(Sample(case.name, server.name, turn, values))
                    say(f"{turn} {case.name:12} {server.name:13} {short(values)}")
    return measured, failures


def short(values: dict[str, float]) -> str:
    return " ".join(f"{name}={value:.2f}" for name, value in values.items())


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measured_run(given: argparse.Namespace) -> Run:
    for tool in ("wrk", "taskset"):
        if not shutil.which(tool):
            raise BenchmarkError(f"{tool} is not installed; the benchmarks need it")
    server_core, load_core = cores(given.server_core, given.load_core)
    os.sched_setaffinity(0, {load_core})  # this process too must leave the server's core alone
    plan = Plan(given.seconds, 1, given.idle_connections, load_core)
    measured, failures = measure_all(given, server_core, plan)
    used = [server for server in SERVERS if server.name in given.servers]
    return Run(
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        day=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine.describe(),
        versions=machine.versions(name for server in used for name in server.distributions),
        settings={"rounds": given.rounds, "seconds": given.seconds},
        samples=measured,
        failures=failures,
    )


def write(run: Run, name: str, *, publish: bool) -> None:
    RESULTS.mkdir(exist_ok=True)
    drawing = plot.draw("CPU microseconds per request (less is better)", report.panels(run))
    (RESULTS / f"{name}.json").write_text(report.to_json(run))
    (RESULTS / f"{name}.svg").write_text(drawing)
    text = report.markdown(run, plot=f"{name}.svg")
    (RESULTS / f"{name}.md").write_text(f"# Benchmark: {name}\n\n{text}")
    if publish:
        text = report.markdown(run, plot=PLOT.name)
        PAGE.write_text(report.published(PAGE.read_text(), text))
        PLOT.write_text(drawing)


def main(line: Sequence[str] | None = None) -> int:
    given = arguments(line)
    complete = len(given.cases) == len(CASES) and len(given.servers) == len(NAMES)
    complete = complete and not given.quick
    try:
        run = report.from_json(given.render.read_text()) if given.render else measured_run(given)
    except BenchmarkError as error:
        say(f"benchmarks: {error}")
        return 2
    name = given.name or (given.render.stem if given.render else None)
    write(
        run,
        name or ("http1" if complete else "scratch"),
        publish=given.publish or (complete and not given.render),
    )
    verdicts = report.verdicts_of(run)
    print(report.overview(run))
    if judged := [verdict for verdict in verdicts if verdict.figure is not None]:
        print(report.bars_table(judged))
    for note in report.notes(run):
        print(f"Note: {note}")
    return 1 if run.failures or any(verdict.passed is False for verdict in verdicts) else 0
