"""Autobahn|Testsuite: installed into a place of its own, and run against one server.

Knows where it writes what, and judges nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.conformance.servers import ROOT

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
PLACE: Final = ROOT / "build" / "conformance"
BASE: Final = PLACE / "suite"  # as PYTHONUSERBASE: apart from all else, without virtualenv
LISTED: Final = re.compile(r"Ok, will run (\d+) test cases")
RUNNING: Final = re.compile(r"Running test case ID (\d+)\.")


class SuiteError(Exception):
    """The suite cannot be installed, or has not run; says what would help."""


def pythons() -> Iterator[str]:
    """Every Python 2.7 that can be found."""
    candidates = [shutil.which(name) for name in ("python2.7", "python2")]
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += [str(path) for path in sorted(root.glob("versions/2.7*/bin/python"))]
    question = "import sys; sys.exit(sys.version_info[:2] != (2, 7))"
    for python in filter(None, candidates):
        if not subprocess.run([python, "-c", question], capture_output=True).returncode:
            yield python


def install() -> str:
    """The Python that has the suite. Does nothing where it is installed already."""
    python = next(pythons(), None)
    if python is None:
        raise SuiteError("no Python 2.7 was found, and the suite runs on nothing newer")
    stamp = BASE / "installed.txt"
    wanted = f"{python}\n{REQUIREMENTS.read_text()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(BASE, ignore_errors=True)
    BASE.mkdir(parents=True)
    variables = environment()
    pip = [python, "-m", "pip"]
    if subprocess.run([*pip, "--version"], env=variables, capture_output=True).returncode:
        _do([python, "-m", "ensurepip", "--user"], variables)
    _do(
        [*pip, "install", "--user", "--no-warn-script-location", "-r", str(REQUIREMENTS)], variables
    )
    stamp.write_text(wanted)
    return python


def environment() -> dict[str, str]:
    """Without what the caller's Python was told about its modules."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return {**others, "PYTHONUSERBASE": str(BASE)}


def _do(command: list[str], variables: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise SuiteError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")


def run(
    python: str, name: str, url: str, cases: Sequence[str], progress: Callable[[str], None]
) -> tuple[int, dict[str, Any]]:
    """How many cases were to be run, and what the suite says of those that were, by number.

    Args:
        python: of install().
        cases: patterns such as ``1.*``.
        progress: told the number of each section that begins.
    """
    folder = PLACE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    spec = folder / "spec.json"
    reports = folder / "reports"
    servers = [{"agent": name, "url": url}]
    spec.write_text(json.dumps({"outdir": str(reports), "servers": servers, "cases": list(cases)}))
    command = [python, "-u", "-m", "autobahntestsuite.wstest", "-m", "fuzzingclient"]
    listed, section = 0, ""
    with (
        (folder / "suite.log").open("w", buffering=1) as log,
        subprocess.Popen(
            [*command, "--spec", str(spec)],
            env=environment(),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                log.write(line)
                if found := LISTED.search(line):
                    listed = int(found[1])
                elif (found := RUNNING.search(line)) and found[1] != section:
                    section = found[1]
                    progress(section)
        finally:
            process.terminate()
    index = reports / "index.json"
    if not listed or not index.exists():
        raise SuiteError(f"the suite did not run: {folder / 'suite.log'} says more")
    results: dict[str, Any] = json.loads(index.read_text()).get(name, {})
    return listed, results
