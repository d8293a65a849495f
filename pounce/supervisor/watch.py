"""Files that change, for --reload. Knows paths and times of change, not what follows from them.

It polls from a process of its own: the master neither polls nor starts threads.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pounce.supervisor import process

INTERVAL_S: Final = 0.5
SUFFIXES: Final = (".py",)
NAMES: Final = frozenset({"pounce.toml", "pyproject.toml"})
# Hidden directories (.git, .venv) are left out as well.
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})

Seen = dict[str, tuple[int, int]]


class Watcher:
    """The process that watches, and the pipe that it reports through.

    Attributes:
        read_end: readable when something has changed, or when the process is gone.
    """

    def __init__(self, directories: Sequence[Path], *, first: Callable[[], None]) -> None:
        """Fork it. `first` runs in the new process, to close what is the master's."""
        self.read_end, write_end = os.pipe()
        master = os.getpid()

        def close() -> None:
            os.close(self.read_end)
            first()

        try:
            self.pid = process.fork(
                lambda: watch(directories, write_end, master=master), first=close
            )
        finally:
            os.close(write_end)
        os.set_blocking(self.read_end, False)

    def changed(self) -> bool:
        """Whether files have changed since it was last asked.

        Raises:
            EOFError: the watcher is gone, nothing will be reported any more.
        """
        try:
            if not os.read(self.read_end, 4096):
                raise EOFError
        except BlockingIOError:
            return False
        return True

    def abandon(self) -> None:
        """In a forked child: it is not ours."""
        os.close(self.read_end)

    def close(self) -> None:
        """End it and wait for that."""
        self.abandon()
        try:
            process.send(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # reaped already


def watch(directories: Sequence[Path], write_end: int, *, master: int) -> int:
    """Write a byte to `write_end` after each burst of changes, until the master is gone.

    A burst has ended when nothing has changed for one interval: editors and version control write
    many files one after the other.
    """
    os.set_blocking(write_end, False)  # a full pipe says "changed" already
    gone = select.poll()
    gone.register(write_end, 0)  # POLLERR is always told: the master has closed its end, or died
    before = snapshot(directories)
    pending = False
    while not gone.poll(INTERVAL_S * 1000) and os.getppid() == master:
        after = snapshot(directories)
        if after != before:
            before, pending = after, True
        elif pending:
            pending = False
            try:
                os.write(write_end, b"\n")
            except BlockingIOError:
                pass
            except BrokenPipeError:
                break
    return 0


def snapshot(directories: Sequence[Path]) -> Seen:
    """Time of change and size of every watched file below the directories."""
    seen: Seen = {}
    for directory in directories:
        for entry in _files(str(directory)):
            try:
                found = entry.stat()
            except OSError:
                continue  # gone since it was listed
            seen[entry.path] = (found.st_mtime_ns, found.st_size)
    return seen


def _files(directory: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith(SUFFIXES) or entry.name in NAMES:
            yield entry
        elif (
            entry.name[0] != "."
            and entry.name not in SKIPPED
            and entry.is_dir(follow_symlinks=False)
        ):
            yield from _files(entry.path)
