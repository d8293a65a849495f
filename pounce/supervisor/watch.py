"""Files that change, for --reload. Knows paths and times of change, not what follows from them.

It polls from a process of its own: the master neither polls nor starts threads.
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

INTERVAL_S: Final = 0.5
SUFFIXES: Final = (".py",)
NAMES: Final = frozenset({"pounce.toml", "pyproject.toml"})
# Hidden directories (.git, .venv) are left out as well.
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})

Seen = dict[str, tuple[int, int]]


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
