"""The command: rounds over cases over servers that speak HTTP/2, one at a time."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import machine, report
from benchmarks.bars import HTTP2_BARS
from benchmarks.http2 import page
from benchmarks.http2.cases import APP, CASES, Case
from benchmarks.http2.servers import NAMES, SERVERS, Order2
from benchmarks.loads import Plan
from benchmarks.report import Run
from benchmarks.run import PAGE, RESULTS, cores, names, say, short
from benchmarks.running import BenchmarkError, free_port, running
from benchmarks.samples import Failure, Sample
from benchmarks.servers import Server

TOOLS: Final = ("h2load", "curl", "taskset", "openssl")


def arguments(line: Sequence[str] | None) -> argparse.Namespace:
    cases = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http2", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything is measured, in turn")
    add("--seconds", type=float, default=3, help="length of one measurement, about")
    add("--cases", type=lambda given: names(cases, "--cases", given), default=cases)
    add("--servers", type=lambda given: names(NAMES, "--servers", given), default=NAMES)
    add("--server-core", type=int, help="default: the last core this process may use")
    add("--load-core", type=int, help="default: the first")
    add("--name", help="file name in benchmarks/results; default: http2 if all, else scratch")
    add("--publish", action="store_true", help="put a partial run into docs/ too")
    add("--render", type=Path, metavar="JSON", help="measure nothing, write an old run anew")
    return parser.parse_args(line)


def make_certificate(folder: Path) -> None:
    """cert.pem and key.pem, for this host and this run: on a curve, as new ones mostly are."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)


def measure(case: Case, server: Server, core: int, plan: Plan, folder: Path) -> dict[str, float]:
    """One server from its start to its end."""
    port = free_port()
    order = Order2(
        APP,
        port,
        folder / "access.log",
        certificate=folder / "cert.pem" if case.tls else None,
        key=folder / "key.pem" if case.tls else None,
    )
    with running(server.command(order), port=port, core=core, log=folder / "output.log") as started:
        return case.load.measure(started, plan, "https" if case.tls else "http")


def measure_all(
    given: argparse.Namespace, core: int, plan: Plan
) -> tuple[list[Sample], list[Failure]]:
    """Rounds outermost: what changes on the machine over minutes meets every server alike."""
    measured: list[Sample] = []
    failures: list[Failure] = []
    wanted = [
        (case, server)
        for case in CASES
        if case.name in given.cases
        for server in SERVERS
        if server.name in given.servers and server.name in case.servers
    ]
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(Path(folder))
        for turn in range(1, given.rounds + 1):
            for case, server in wanted:
                try:
                    values = measure(case, server, core, plan, Path(folder))
                except (BenchmarkError, OSError, subprocess.TimeoutExpired) as error:
                    why = str(error).split("\n")[0]
                    failures.append(Failure(case.name, server.name, turn, why))
                    say(f"{turn} {case.name:13} {server.name:10} FAILED: {error}")
                else:
                    measured.append(Sample(case.name, server.name, turn, values))
                    say(f"{turn} {case.name:13} {server.name:10} {short(values)}")
    return measured, failures


def h2load_version() -> str:
    told = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=False)
    return told.stdout.strip()


def measured_run(given: argparse.Namespace) -> Run:
    for tool in TOOLS:
        if not shutil.which(tool):
            raise BenchmarkError(f"{tool} is not installed; the benchmarks need it")
    server_core, load_core = cores(given.server_core, given.load_core)
    os.sched_setaffinity(0, {load_core})  # this process too must leave the server's core alone
    plan = Plan(given.seconds, 1, 0, load_core)
    measured, failures = measure_all(given, server_core, plan)
    used = [server for server in SERVERS if server.name in given.servers]
    return Run(
        command=shlex.join(["python", "-m", "benchmarks.http2", *sys.argv[1:]]),
        day=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine={**machine.describe(), "load": h2load_version()},
        versions=machine.versions(name for server in used for name in server.distributions),
        settings={"rounds": given.rounds, "seconds": given.seconds},
        samples=measured,
        failures=failures,
    )


def main(line: Sequence[str] | None = None) -> int:
    given = arguments(line)
    complete = len(given.servers) == len(NAMES) and len(given.cases) == len(CASES)
    try:
        run = report.from_json(given.render.read_text()) if given.render else measured_run(given)
    except BenchmarkError as error:
        say(f"benchmarks: {error}")
        return 2
    name = given.name or ("http2" if complete else "scratch")
    RESULTS.mkdir(exist_ok=True)
    text = page.markdown(run)
    (RESULTS / f"{name}.json").write_text(report.to_json(run, HTTP2_BARS))
    (RESULTS / f"{name}.md").write_text(f"# Benchmark: {name}\n\n{text}")
    if given.publish or complete:
        PAGE.write_text(report.published(PAGE.read_text(), text, mark="http2"))
    print(text)
    verdicts = report.verdicts_of(run, HTTP2_BARS)
    return 1 if run.failures or any(verdict.passed is False for verdict in verdicts) else 0
