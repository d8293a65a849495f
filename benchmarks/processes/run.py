"""The command: rounds over crews, and each measured from its start to its end."""

from __future__ import annotations

import argparse
import compileall
import datetime
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import machine, report
from benchmarks.bars import PROCESS_BARS
from benchmarks.processes import measures, page
from benchmarks.processes.crews import APP, CREWS, WORKERS
from benchmarks.report import Run
from benchmarks.run import PAGE, RESULTS, names, say, short
from benchmarks.running import ROOT, BenchmarkError, free_port, launched
from benchmarks.samples import Failure, Sample
from benchmarks.servers import Order, Server

NAMES: Final = [crew.name for crew in CREWS]


def arguments(line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.processes", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often each server is measured, in turn")
    add("--servers", type=lambda given: names(NAMES, "--servers", given), default=NAMES)
    add("--name", help="file name in benchmarks/results; default: processes if all, else scratch")
    add("--publish", action="store_true", help="put a partial run into docs/ too")
    add("--render", type=Path, metavar="JSON", help="measure nothing, write an old run anew")
    return parser.parse_args(line)


def measure(server: Server, turn: int) -> list[Sample]:
    """One server, once.

    The kill comes before the reload: a worker that dies soon after one may be taken for a fault of
    the new code.
    """
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = server.command(Order(APP, port, Path(folder) / "access.log", workers=WORKERS))
        with launched(command, port=port, log=Path(folder) / "output.log") as process:
            crew = measures.Crew(port, process.pid)
            found = []
            for case, of in measures.CASES.items():
                found.append(Sample(case, server.name, turn, of(crew)))
                say(f"{turn} {case:17} {server.name:16} {short(dict(found[-1].values))}")
            return found


def measured_run(given: argparse.Namespace) -> Run:
    # Installed servers have their bytecode on the disk. So must the tree: who compiles at every
    # start is slower, and has more memory in pieces.
    for package in ("pounce", "benchmarks"):
        compileall.compile_dir(ROOT / package, quiet=1)
    described = machine.describe()
    del described["load"]  # wrk's
    described["load average before"] = f"{os.getloadavg()[0]:.1f}"
    described["nice"] = str(os.nice(0))
    measured: list[Sample] = []
    failures: list[Failure] = []
    crews = [crew for crew in CREWS if crew.name in given.servers]
    for turn in range(1, given.rounds + 1):
        for crew in crews:
            try:
                measured += measure(crew, turn)
            except (BenchmarkError, OSError) as error:
                failures.append(Failure("processes", crew.name, turn, str(error).split("\n")[0]))
                say(f"{turn} {crew.name:16} FAILED: {error}")
    return Run(
        command=shlex.join(["python", "-m", "benchmarks.processes", *sys.argv[1:]]),
        day=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=described,
        versions=machine.versions(
            name for crew in crews for name in (*crew.distributions, "fastapi", "pydantic")
        ),
        settings={"rounds": given.rounds, "workers": WORKERS},
        samples=measured,
        failures=failures,
    )


def main(line: Sequence[str] | None = None) -> int:
    given = arguments(line)
    complete = len(given.servers) == len(NAMES)
    if given.render:
        run = report.from_json(given.render.read_text())
    else:
        try:
            run = measured_run(given)
        except BenchmarkError as error:
            say(f"benchmarks: {error}")
            return 2
    name = given.name or ("processes" if complete else "scratch")
    RESULTS.mkdir(exist_ok=True)
    text = page.markdown(run)
    (RESULTS / f"{name}.json").write_text(report.to_json(run, PROCESS_BARS))
    (RESULTS / f"{name}.md").write_text(f"# Benchmark: {name}\n\n{text}")
    if given.publish or complete:
        PAGE.write_text(report.published(PAGE.read_text(), text, mark="processes"))
    print(text)
    verdicts = report.verdicts_of(run, PROCESS_BARS)
    return 1 if run.failures or any(verdict.passed is False for verdict in verdicts) else 0
