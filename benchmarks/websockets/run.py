"""The command: rounds over cases over servers, one at a time; knows no way of measuring."""

from __future__ import annotations

import argparse
import compileall
import datetime
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import machine, plot, report
from benchmarks.bars import WEBSOCKET_BARS
from benchmarks.report import Run
from benchmarks.run import PAGE, RESULTS, cores, names, say, short
from benchmarks.running import ROOT, BenchmarkError, free_port, running
from benchmarks.samples import Failure, Sample
from benchmarks.websockets import page
from benchmarks.websockets.cases import CASES, Case
from benchmarks.websockets.loads import Plan
from benchmarks.websockets.servers import NAMES, SERVERS, WebSocketServer
from benchmarks.websockets.sockets import prove

PLOT: Final = ROOT / "docs" / "performance-websocket.svg"
PACE: Final = "echo64"  # half of what the slowest server brings there is the load of `latency`


def arguments(line: Sequence[str] | None) -> argparse.Namespace:
    case_names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.websockets", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything is measured, in turn")
    add("--seconds", type=float, default=3, help="length of one measurement")
    add("--cases", type=lambda given: names(case_names, "--cases", given), default=case_names)
    add("--servers", type=lambda given: names(NAMES, "--servers", given), default=list(NAMES))
    add("--quick", action="store_true", help="one round of a second: does it work at all?")
    add("--idle-sockets", type=int, default=10_000, help="WebSockets held in the idle cases")
    add("--rate", type=float, default=0.0, help="messages/s of latency, if echo64 is not measured")
    add("--server-core", type=int, help="default: the last core this process may use")
    add("--load-core", type=int, help="default: the first")
    add("--name", help="file name in benchmarks/results; default: websocket if all, else scratch")
    add("--publish", action="store_true", help="put a partial run into docs/ too")
    add("--render", type=Path, metavar="JSON", help="measure nothing, write an old run anew")
    given = parser.parse_args(line)
    if given.quick:
        given.rounds, given.seconds = 1, 1
        given.idle_sockets = min(given.idle_sockets, 500)
    return given


def measure(case: Case, server: WebSocketServer, core: int, plan: Plan) -> dict[str, float]:
    """One server from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = server.command(case.order(port, Path(folder) / "access.log"))
        with running(command, port=port, core=core, log=Path(folder) / "log") as started:
            if server.parses:
                prove(port, case.load.path, case.load.messages)
            return case.load.measure(started, plan)


def half_of_the_slowest(measured: Sequence[Sample], turn: int) -> float:
    """Messages/s; 0 when this round has not measured it."""
    rates = [
        sample.values["rps"]
        for sample in measured
        if sample.case == PACE and sample.round == turn and "rps" in sample.values
    ]
    return min(rates, default=0.0) / 2


def measure_all(
    given: argparse.Namespace, core: int, plan: Plan
) -> tuple[list[Sample], list[Failure]]:
    """Rounds outermost: what changes on the machine over minutes meets every server alike."""
    measured: list[Sample] = []
    failures: list[Failure] = []
    cases = [case for case in CASES if case.name in given.cases]
    for turn in range(1, given.rounds + 1):
        for case in [case for case in cases if turn == 1 or not case.once]:
            of_now = replace(plan, rate=given.rate or half_of_the_slowest(measured, turn))
            for server in case.servers(given.servers):
                try:
                    values = measure(case, server, core, of_now)
                except (BenchmarkError, OSError) as error:
                    failures.append(
                        Failure(case.name, server.name, turn, str(error).split("\n")[0])
                    )
                    say(f"{turn} {case.name:12} {server.name:15} FAILED: {error}")
                else:
                    measured.append(Sample(case.name, server.name, turn, values))
                    say(f"{turn} {case.name:12} {server.name:15} {short(values)}")
    return measured, failures


def measured_run(given: argparse.Namespace) -> Run:
    if not shutil.which("taskset"):
        raise BenchmarkError("taskset is not installed; the benchmarks need it")
    # Installed servers have their bytecode on the disk. So must the tree.
    for package in ("pounce", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=1)
    server_core, load_core = cores(given.server_core, given.load_core)
    os.sched_setaffinity(0, {load_core})  # this process is the load
    plan = Plan(given.seconds, 1, given.idle_sockets)
    measured, failures = measure_all(given, server_core, plan)
    described = machine.describe()
    del described["load"]  # wrk's
    used = [server for server in SERVERS if server.name in given.servers]
    return Run(
        command=shlex.join(["python", "-m", "benchmarks.websockets", *sys.argv[1:]]),
        day=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=described,
        versions=machine.versions(name for server in used for name in server.distributions),
        settings={
            "rounds": given.rounds,
            "seconds": given.seconds,
            "idle sockets": given.idle_sockets,
        },
        samples=measured,
        failures=failures,
    )


def write(run: Run, name: str, *, publish: bool) -> None:
    RESULTS.mkdir(exist_ok=True)
    drawing = plot.draw("CPU microseconds per message (less is better)", page.panels(run))
    (RESULTS / f"{name}.json").write_text(report.to_json(run, WEBSOCKET_BARS))
    (RESULTS / f"{name}.svg").write_text(drawing)
    text = page.markdown(run, plot=f"{name}.svg")
    (RESULTS / f"{name}.md").write_text(f"# Benchmark: {name}\n\n{text}")
    if publish:
        text = page.markdown(run, plot=PLOT.name)
        PAGE.write_text(report.published(PAGE.read_text(), text, mark="websockets"))
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
        name or ("websocket" if complete else "scratch"),
        publish=given.publish or (complete and not given.render),
    )
    verdicts = report.verdicts_of(run, WEBSOCKET_BARS)
    print(page.overview(run))
    if judged := [verdict for verdict in verdicts if verdict.figure is not None]:
        print(report.bars_table(judged))
    for note in page.notes(run):
        print(f"Note: {note}")
    return 1 if run.failures or any(verdict.passed is False for verdict in verdicts) else 0
