"""What an application under test tells its test past the server: lines in a file, and a gate.

The application appends a line for each thing that happened to it, and may wait for a file to be
there; the test reads the lines and makes the file.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from tests.support.serverlog import wait_until


class Notes:
    """The lines the application has written, and the gate it may wait at.

    Attributes:
        query: for the target of a request, so that its application knows both places.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notes"
        self.gate = directory / "gate"
        self.query = urlencode({"notes": str(self.path), "gate": str(self.gate)})

    def lines(self) -> list[str]:
        if not self.path.exists():
            return []
        return self.path.read_text().splitlines()

    def wait_for(self, line: str, *, times: int = 1) -> None:
        wait_until(lambda: self.lines().count(line) >= times, f"note {line!r} {times} times")

    def open_gate(self) -> None:
        self.gate.touch()
