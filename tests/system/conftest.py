"""Fixtures of the system tests. They need a real operating system, and nothing outside of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import py  # type: ignore[import-untyped]
import pytest
from xprocess import XProcess

from tests.support.notes import Notes


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


@pytest.fixture(scope="session")
def xprocess(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[XProcess]:
    """In place of the plugin's own: that one keeps its files in pytest's cache, where another run
    of these tests would find them, and which may be switched off.
    """
    directory = py.path.local(str(tmp_path_factory.mktemp("xprocess")))
    with XProcess(request.config, directory) as one:
        request.config._xprocess = one  # type: ignore[attr-defined]  # what an interrupt ends
        yield one
