"""What the suite said of each case, judged strictly, and as a table.

Strict: the case and the way its connection ended are both OK. What the suite itself calls
informational has no right answer and is counted apart. All else fails: what is merely tolerated
(NON-STRICT), what is not there (UNIMPLEMENTED), and a case without a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

STRICT: Final = "strict"
INFORMATIONAL: Final = "informational"
TOLERATED: Final = "tolerated"
MISSING: Final = "not implemented"
FAILED: Final = "failed"
VERDICTS: Final = (STRICT, INFORMATIONAL, TOLERATED, MISSING, FAILED)

# As the suite names them, in `case/__init__.py` of it.
SECTIONS: Final = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits and performance",
    "10": "automatic fragmentation",
    "12": "compression: payloads",
    "13": "compression: parameters",
}


def verdict(result: Mapping[str, Any]) -> str:
    """Of one case, from its entry in the suite's index.json."""
    match result["behavior"], result["behaviorClose"]:
        case "OK", "OK":
            return STRICT
        case "INFORMATIONAL", ("OK" | "INFORMATIONAL"):
            return INFORMATIONAL
        case "UNIMPLEMENTED", _:
            return MISSING
        case "NON-STRICT", "OK":
            return TOLERATED
    return FAILED


@dataclass
class Report:
    """One server's.

    Attributes:
        listed: how many cases were to be run.
        results: the suite's index.json, by case.
        broken: what else speaks against it, such as an error in the server's log.
    """

    name: str
    listed: int = 0
    results: Mapping[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def count(self, verdict_: str, section: str = "") -> int:
        """Cases with a verdict, of all sections or one."""
        return sum(
            verdict(result) == verdict_
            for case, result in self.results.items()
            if not section or case.partition(".")[0] == section
        )

    @property
    def faults(self) -> list[str]:
        """All that is not strict, in words."""
        found = list(self.broken)
        if len(self.results) != self.listed or not self.listed:
            found.append(f"{len(self.results)} of {self.listed} cases have a result")
        for case in sorted(self.results, key=lambda case: [int(part) for part in case.split(".")]):
            result = self.results[case]
            if (said := verdict(result)) not in (STRICT, INFORMATIONAL):
                ends = f"{result['behavior']}, its end {result['behaviorClose']}"
                found.append(f"{case} {said} ({ends}, code {result['remoteCloseCode']})")
        return found


def sections(report: Report) -> str:
    """One server's table by section."""
    rows = [["section", *VERDICTS]]
    for number, title in SECTIONS.items():
        counts = [report.count(one, number) for one in VERDICTS]
        if any(counts):
            rows.append([f"{number} {title}", *map(str, counts)])
    rows.append(["all", *(str(report.count(one)) for one in VERDICTS)])
    return table(rows)


def summary(reports: Iterable[Report]) -> str:
    """All servers, a line each."""
    rows = [["server", *VERDICTS]]
    rows += [[one.name, *(str(one.count(each)) for each in VERDICTS)] for one in reports]
    return table(rows)


def table(rows: list[list[str]]) -> str:
    """For a terminal; the same lines are a Markdown table."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in rows
    )
