"""Real masters for the tests of the runner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pounce.supervisor.children import WorkerEntry
from tests.support.master import Master, Start


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Master; whatever is left of it is ended after the test."""
    masters: list[Master] = []

    def call(entry: WorkerEntry, **settings: Any) -> Master:
        masters.append(Master(entry, **settings))
        return masters[-1]

    yield call
    for master in masters:
        master.close()
