"""Fixtures of the system tests. They need a real operating system, and nothing outside of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.notes import Notes


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)
