"""``pounce`` as a running server of its own: its port, its log as it is written, its end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.command import environment

SERVING: Final = re.compile(r"serving on (\S+),? ")
PATIENCE: Final = 60.0  # seconds until a line that does not come is given up


class Server:
    """A server process. Its log is read as it comes, so that nothing waits for us to read.

    Attributes:
        log: the lines of standard error so far.
    """

    def __init__(
        self, command: list[str], *, folder: Path, variables: Mapping[str, str], stdout: int
    ) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._read = 0
        self._ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._collect)
        self._reader.start()

    def _collect(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._news:
                self.log.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, pattern: str | re.Pattern[str], *, patience: float = PATIENCE) -> str:
        """The next line, after those waited for before, in which `pattern` is found."""
        with self._news:
            while True:
                while self._read < len(self.log):
                    line = self.log[self._read]
                    self._read += 1
                    if re.search(pattern, line):
                        return line
                if self._ended:
                    raise AssertionError(f"the server ended without {pattern!r}: {self.log}")
                if not self._news.wait(patience):
                    raise TimeoutError(f"{pattern!r} did not come: {self.log}")

    def wait_until_serving(self) -> str:
        """The first address that it serves on."""
        found = SERVING.search(self.wait_for(SERVING))
        assert found
        return found[1].rstrip(",")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(PATIENCE)
        self._reader.join()
        return status

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


@contextmanager
def serving(
    *args: str, folder: Path, stdout: int = subprocess.DEVNULL, **variables: str
) -> Iterator[Server]:
    """``pounce`` with `args`, started in `folder`; it is made sure that it is gone afterwards."""
    command = [sys.executable, "-m", "pounce", *args]
    server = Server(command, folder=folder, variables=variables, stdout=stdout)
    try:
        yield server
    finally:
        server.end()
