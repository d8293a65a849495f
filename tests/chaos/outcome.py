"""What came of a scenario: a row of the table, and whether a promise was broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.clients import Clients

MOST_SHOWN = 5


@dataclass
class Outcome:
    """One scenario's row.

    Attributes:
        requests: all that were asked.
        failed: those without a whole answer for which the server is to blame.
        excused: those that were in flight in a process at the moment it was killed.
        notes: what was measured, in words.
        broken: the promises that were not kept.
        late: times that were longer than promised; a busy machine may be to blame.
    """

    name: str
    requests: int = 0
    failed: int = 0
    excused: int = 0
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def count(self, clients: Clients) -> None:
        """Takes over what the clients met."""
        self.requests += clients.requests
        self.failed += len(clients.blamed)
        self.excused += clients.excused
        self.broken += [f"failed: {one}" for one in clients.blamed[:MOST_SHOWN]]

    def note(self, text: str) -> None:
        self.notes.append(text)

    def promise(self, kept: object, otherwise: str) -> None:
        if not kept:
            self.broken.append(otherwise)

    def within(self, seconds: float, limit_s: float, what: str) -> None:
        self.note(f"{what} {seconds:.2f} s")
        if seconds > limit_s:
            self.late.append(f"{what} {seconds:.2f} s, promised {limit_s:g} s")


def table(outcomes: Iterable[Outcome]) -> str:
    """For a terminal; the same lines are a Markdown table."""
    head = ["scenario", "requests", "failed", "in flight at a kill", "notes"]
    rows = [
        [one.name, f"{one.requests:,}", str(one.failed), str(one.excused), "; ".join(one.notes)]
        for one in outcomes
    ]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])
