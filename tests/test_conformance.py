"""How the conformance suite's words are judged; the suite itself is ``make conformance``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.servers import IN_PYTHON, SERVERS, chosen, command
from tests.conformance.verdicts import (
    FAILED,
    INFORMATIONAL,
    MISSING,
    STRICT,
    TOLERATED,
    Report,
    sections,
    summary,
    verdict,
)


def result(behavior: str, end: str = "OK") -> dict[str, Any]:
    return {"behavior": behavior, "behaviorClose": end, "remoteCloseCode": 1002}


@pytest.mark.parametrize(
    ("behavior", "end", "said"),
    [
        ("OK", "OK", STRICT),
        ("INFORMATIONAL", "INFORMATIONAL", INFORMATIONAL),
        ("NON-STRICT", "OK", TOLERATED),
        ("UNIMPLEMENTED", "OK", MISSING),
        ("FAILED", "OK", FAILED),
        ("OK", "WRONG CODE", FAILED),
        ("OK", "UNCLEAN", FAILED),
        ("OK", "FAILED BY CLIENT", FAILED),
        ("OK", "FAILED", FAILED),
        ("NON-STRICT", "UNCLEAN", FAILED),
        ("INFORMATIONAL", "UNCLEAN", FAILED),
        ("NO_CLOSE", "OK", FAILED),
    ],
)
def test_a_case_is_strict_only_if_it_and_its_end_are(behavior: str, end: str, said: str) -> None:
    assert verdict(result(behavior, end)) == said


def test_a_report_names_all_that_is_not_strict_in_the_suite_s_order() -> None:
    results = {
        "10.1.1": result("UNIMPLEMENTED"),
        "3.2": result("NON-STRICT"),
        "7.1.6": result("INFORMATIONAL", "INFORMATIONAL"),
        "1.1.1": result("OK"),
    }
    report = Report("pounce", 4, results)
    assert report.faults == [
        "3.2 tolerated (NON-STRICT, its end OK, code 1002)",
        "10.1.1 not implemented (UNIMPLEMENTED, its end OK, code 1002)",
    ]
    assert "| 3 reserved bits            | 0      | 0             | 1 " in sections(report)
    cells = summary([report]).splitlines()[-1].strip("| ").split("|")
    assert [cell.strip() for cell in cells] == ["pounce", "1", "1", "1", "1", "0"]


@pytest.mark.parametrize(("listed", "results"), [(2, {"1.1.1": result("OK")}), (0, {})])
def test_cases_without_a_result_are_a_fault(listed: int, results: dict[str, Any]) -> None:
    assert Report("pounce", listed, results).faults == [
        f"{len(results)} of {listed} cases have a result"
    ]


def test_words_choose_servers_and_pounce_is_the_default() -> None:
    assert chosen(["sansio", "hyper"]) == ["uvicorn-websockets-sansio", "hypercorn"]
    assert [name for name in chosen([]) if not name.startswith("pounce")] == []
    assert len(chosen([])) == 4


@pytest.mark.parametrize("name", [name for name in SERVERS if name.endswith(IN_PYTHON)])
def test_a_server_without_the_helper_in_c_has_none(name: str, tmp_path: Path) -> None:
    env, path, python, *_ = command(name, 8000, tmp_path / "hidden")
    question = (
        "from pounce.worker.wire.masking import unmask, unmask_here; print(unmask is unmask_here)"
    )
    done = subprocess.run([env, path, python, "-c", question], capture_output=True, cwd=os.sep)
    assert done.stdout == b"True\n", done.stderr
