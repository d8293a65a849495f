"""Makes a failing story smaller while it still fails in the same way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tests.fuzz.case import Case, Step

LIMIT: Final = 30.0  # seconds


def kind(broken: str) -> str:
    """What two failures of one cause have in common."""
    first = broken.split("\n", 1)[0]
    return "".join(each for each in first if not each.isdigit())[:60]


def shrunk(case: Case, broken: str, play: Callable[[Case], str]) -> Case:
    until = time.monotonic() + LIMIT
    wanted = kind(broken)

    def fails(steps: tuple[Step, ...]) -> bool:
        return kind(play(case.with_steps(steps))) == wanted

    steps = case.steps
    size = max(1, len(steps) // 2)
    while size and time.monotonic() < until:
        at = len(steps)
        while at > 0 and time.monotonic() < until:
            at -= size
            fewer = steps[: max(0, at)] + steps[max(0, at) + size :]
            if len(fewer) < len(steps) and fails(fewer):
                steps = fewer
        size //= 2
    at = 0
    while at + 1 < len(steps) and time.monotonic() < until:  # pieces that follow each other
        one, other = steps[at][1], steps[at + 1][1]
        if isinstance(one, bytes) and isinstance(other, bytes):
            joined = (*steps[:at], ("data", one + other), *steps[at + 2 :])
            if fails(joined):
                steps = joined
                continue
        at += 1
    return case.with_steps(steps)
