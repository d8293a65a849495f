"""wrk's output is read whole, and a load with any error is refused."""

from __future__ import annotations

import json

import pytest

from benchmarks import wrk

CLEAN = {
    "requests": 81920,
    "us": 2_000_000,
    "p50_us": 310.0,
    "p99_us": 902.5,
    "connect": 0,
    "read": 0,
    "write": 0,
    "status": 0,
    "timeout": 0,
}


def output(**changed: float) -> str:
    return f"Running 2s test\n  1 threads\nsummary {json.dumps({**CLEAN, **changed})}\n"


def test_a_clean_load_is_read_whole() -> None:
    assert wrk.parse(output()) == wrk.Summary(81920, 2.0, 310.0, 902.5)


@pytest.mark.parametrize("trouble", wrk.TROUBLES)
def test_a_load_with_one_error_is_refused_and_the_kind_is_named(trouble: str) -> None:
    with pytest.raises(wrk.WrkError, match=f"'{trouble}': 1"):
        wrk.parse(output(**{trouble: 1}))


def test_a_load_that_was_never_answered_is_refused() -> None:
    with pytest.raises(wrk.WrkError, match="no request was answered"):
        wrk.parse(output(requests=0))


@pytest.mark.parametrize("told", ["", "unable to connect\n", output() + output()])
def test_output_without_exactly_one_summary_is_refused(told: str) -> None:
    with pytest.raises(wrk.WrkError, match="summary lines"):
        wrk.parse(told)


def test_the_script_prints_every_field_that_is_read() -> None:
    script = wrk.SCRIPT.read_text()
    assert [name for name in CLEAN if f'"{name}":' not in script] == []


def test_a_part_of_a_second_becomes_a_whole_one() -> None:
    line = wrk.command("http://h/", method="GET", body=0, depth=1, connections=8, seconds=0.2)
    assert "--duration=1s" in line
