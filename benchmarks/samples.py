"""What was measured, and medians and ratios over the rounds; pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One server in one case in one round."""

    case: str
    server: str
    round: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Failure:
    """A measurement that did not come about, and why."""

    case: str
    server: str
    round: int
    why: str


def by_round(samples: Sequence[Sample], case: str, server: str, metric: str) -> dict[int, float]:
    return {
        sample.round: sample.values[metric]
        for sample in samples
        if sample.case == case and sample.server == server and metric in sample.values
    }


def median(samples: Sequence[Sample], case: str, server: str, metric: str) -> float | None:
    """Over the rounds; None if there is no sample."""
    values = by_round(samples, case, server, metric).values()
    return statistics.median(values) if values else None


def ratios(
    samples: Sequence[Sample], case: str, metric: str, server: str, against: str
) -> list[float]:
    """The server's value by the other's, round by round.

    Within a round the two stand next to each other in time, so what slowed the machine for a
    while slowed both; a ratio of two medians may pair values minutes apart.
    """
    ours = by_round(samples, case, server, metric)
    theirs = by_round(samples, case, against, metric)
    return [ours[turn] / theirs[turn] for turn in sorted(ours.keys() & theirs.keys())]
