"""The log of a server under test, as records: wait for one, declare one, and prove the rest quiet.

Knows the text form of pounce's log, not the process that writes it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

# No test asserts a duration: this is how long a loaded machine may need for anything at all.
PATIENCE: Final = 60.0  # seconds
POLL: Final = 0.02  # seconds between two looks at what cannot wake us
HEAD: Final = re.compile(r"[-0-9]{10} [.:0-9]{12} \[(?P<pid>\d+)\] (?P<level>[a-z]+) +(?P<text>.*)")
LOUD: Final = frozenset({"warning", "error", "critical"})


def wait_until(holds: Callable[[], object], what: object) -> None:
    """Returns as soon as `holds()` is true.

    Raises:
        AssertionError: it never was; the text is `what`.
    """
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"this did not come: {what}"
        time.sleep(POLL)


@dataclass(frozen=True)
class Record:
    """One entry of the log: its first line's parts, and the indented lines below as `trace`.

    A line in no form of ours, such as what an interpreter prints on its way out, has level "".
    """

    pid: int
    level: str
    text: str
    trace: str = ""


class Source(Protocol):
    """Where the lines come from."""

    def lines(self) -> list[str]:
        """All whole lines so far."""
        ...


class PipeSource:
    """Reads a pipe in a thread of its own, so that the server never waits for the test."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            self._lines.append(line.decode(errors="replace").rstrip("\n"))

    def lines(self) -> list[str]:
        return self._lines.copy()

    def close(self) -> None:
        """Waits for the end of the log: the last process that could write it has gone."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "somebody still holds the log open"
        self._pipe.close()


class FileSource:
    """Reads a file that others write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[str]:
        whole, _, _ = self._path.read_bytes().rpartition(b"\n")
        return whole.decode(errors="replace").split("\n")


class Log:
    """What a server has said so far."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._checked = 0
        self._expected: list[str] = []
        self._allowed: list[str] = []

    def records(self) -> list[Record]:
        records: list[Record] = []
        for line in self._source.lines():
            if found := HEAD.fullmatch(line):
                records.append(Record(int(found["pid"]), found["level"], found["text"]))
            elif records and line.startswith("    "):
                last = records[-1]
                trace = f"{last.trace}{line}\n"
                records[-1] = Record(last.pid, last.level, last.text, trace)
            elif line:
                records.append(Record(0, "", line))
        return records

    def find(self, pattern: str) -> list[Record]:
        """The records whose text, or traceback, `pattern` is found in."""
        return [
            record
            for record in self.records()
            if re.search(pattern, record.text) or re.search(pattern, record.trace)
        ]

    def wait_for(self, pattern: str, *, times: int = 1) -> Record:
        """The record that `pattern` is found in for the `times`-th time."""
        wait_until(
            lambda: len(self.find(pattern)) >= times, f"{pattern} {times} times in\n{self.text}"
        )
        return self.find(pattern)[times - 1]

    @property
    def text(self) -> str:
        return "\n".join(self._source.lines())

    def expect(self, *patterns: str) -> None:
        """Declares warnings and errors that must come, before the next check() or in it."""
        self._expected += patterns

    def allow(self, *patterns: str) -> None:
        """Declares warnings and errors that may come, at any time."""
        self._allowed += patterns

    def check(self) -> None:
        """Fails unless all that is new is quiet, or was declared; and all declared has come."""
        expected, self._expected = self._expected, []
        for pattern in expected:
            wait_until(
                lambda pattern=pattern: any(  # type: ignore[misc]
                    re.search(pattern, record.text) for record in self.records()[self._checked :]
                ),
                f"{pattern} in\n{self.text}",
            )
        records = self.records()
        new, self._checked = records[self._checked :], len(records)
        for record in new:
            if record.level in LOUD or record.level == "" or record.trace:
                declared = [*expected, *self._allowed]
                told = any(re.search(pattern, record.text) for pattern in declared)
                assert told, f"not expected in the log: {record}\n{self.text}"
