"""``python -m tests.conformance [WORD ...]``: a public WebSocket suite against pounce, strictly.

With words, against the servers whose names hold one of them, such as ``uvicorn``. The exit status
is 1 when a case did not pass strictly.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from benchmarks.running import BenchmarkError, free_port, launched
from pounce.worker.wire.masking import unmask, unmask_here
from tests.conformance import suite
from tests.conformance.servers import IN_PYTHON, OURS, SERVERS, chosen, command
from tests.conformance.verdicts import Report, sections, summary

COMPLAINTS = (" warning ", " error ", "Traceback ")


def judged(name: str, python: str, cases: list[str]) -> Report:
    """One server from its start to its end, and all the cases in between."""
    report = Report(name)
    if name.startswith(OURS) and not name.endswith(IN_PYTHON) and unmask is unmask_here:
        report.broken.append("the package websockets, whose helper in C it needs, is not installed")
        return report
    port = free_port()
    suite.PLACE.mkdir(parents=True, exist_ok=True)
    log = suite.PLACE / f"{name}.log"
    with ExitStack() as stack:
        try:
            hidden = suite.PLACE / "hidden"
            process = stack.enter_context(launched(command(name, port, hidden), port=port, log=log))
            report.listed, report.results = suite.run(
                python,
                name,
                f"ws://127.0.0.1:{port}",
                cases,
                lambda section: print(f"{name}: section {section}", flush=True),
            )
            if (status := process.poll()) is not None:
                report.broken.append(f"the server ended with status {status}")
        except (BenchmarkError, suite.SuiteError) as error:
            report.broken.append(str(error))
    if name.startswith(OURS):
        lines = log.read_text(errors="replace").splitlines()
        report.broken += [line for line in lines if any(one in line for one in COMPLAINTS)]
    return report


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m tests.conformance", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help=f"parts of {', '.join(SERVERS)}; all of pounce's"
    )
    parser.add_argument("--cases", default="*", help="patterns, such as '1.* 12.1.*'; all of them")
    parser.add_argument(
        "--jobs",
        type=int,
        default=max(1, len(os.sched_getaffinity(0)) // 2),
        help="servers at a time; half of the cores, as the suite needs one as well",
    )
    options = parser.parse_args(arguments)
    names = chosen(options.words)
    if not names:
        parser.error(f"no server has one of these words in its name: {', '.join(options.words)}")
    try:
        python = suite.install()
    except suite.SuiteError as error:
        print(error, file=sys.stderr)
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        reports = list(pool.map(lambda name: judged(name, python, options.cases.split()), names))
    for report in reports:
        print(f"\n{report.name}\n\n{sections(report)}")
        for fault in report.faults:
            print(f"    {fault}")
    print(f"\nPython {platform.python_version()}\n\n{summary(reports)}")
    return int(any(report.faults for report in reports))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
