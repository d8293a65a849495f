"""Errors are one line each, and each kind ends the process with its own documented status."""

from __future__ import annotations

from pathlib import Path

import pytest

from pounce import errors


def test_a_config_error_says_what_was_given_where_and_what_would_do() -> None:
    error = errors.ConfigError("workers", 0, origin="POUNCE_WORKERS", want="1 or more")
    assert str(error) == "workers is 0 (from POUNCE_WORKERS); it must be 1 or more"
    assert (error.name, error.value, error.origin, error.want) == (
        "workers",
        0,
        "POUNCE_WORKERS",
        "1 or more",
    )


def test_a_missing_library_is_told_with_the_extra_that_brings_it() -> None:
    error = errors.ExtraMissing("loop uvloop", library="uvloop", extra="fast")
    assert str(error) == (
        "loop uvloop needs uvloop, which is not installed; "
        "pip install 'bengal-pounce[fast]' brings it"
    )
    assert error.extra == "fast"


@pytest.mark.parametrize("kind", [errors.LoadError, errors.LifespanError])
def test_the_applications_traceback_travels_beside_the_line(
    kind: type[errors.LoadError | errors.LifespanError],
) -> None:
    assert kind("why").traceback == ""
    error = kind("why", traceback="Traceback ...")
    assert (str(error), error.traceback) == ("why", "Traceback ...")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.PounceError, 1),
        (errors.ConfigError, 2),
        (errors.UsageError, 2),
        (errors.ExtraMissing, 2),
        (errors.LoadError, 3),
        (errors.LifespanError, 4),
        (errors.BindError, 5),
        (errors.BootError, 6),
    ],
)
def test_each_kind_has_its_exit_status(kind: type[errors.PounceError], status: int) -> None:
    assert kind.exit_code == status
    assert issubclass(kind, errors.PounceError)


def test_every_exit_status_is_in_the_docs_and_in_help() -> None:
    page = Path(__file__).parent.parent.joinpath("docs/settings.md").read_text("utf-8")
    statuses = [value for name, value in vars(errors).items() if name.startswith("EXIT_")]
    assert sorted(statuses) == list(range(7))
    for status in statuses:
        assert f"\n| {status} | " in page
