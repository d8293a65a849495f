"""A server and the masters that follow it at upgrades."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM, SIGUSR2

import psutil

from tests.support.server import Server, is_worker, started
from tests.support.serverlog import wait_until


class Masters:
    """A server and those that follow it.

    Attributes:
        pid: of the master that serves.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.log = server.log
        self.pid = server.pid
        self._upgrades = 0

    def ask(self) -> None:
        os.kill(self.pid, SIGUSR2)

    def upgrade(self) -> None:
        """A whole one, up to the end of the master before."""
        self.ask()
        self.arrive()

    def arrive(self) -> None:
        self._upgrades += 1
        old = self.pid
        self.pid = self.log.wait_for("taking over from the master before", times=self._upgrades).pid
        self.log.wait_for("the master before is gone", times=self._upgrades)
        if old == self.server.pid:
            assert self.server.process.wait() == 0
        wait_until(lambda: is_gone(old), "the end of the old master")

    def workers(self) -> set[int]:
        found = psutil.Process(self.pid).children()
        return {child.pid for child in found if is_worker(child)}

    def stop(self) -> None:
        """The last one, and then nobody is left."""
        os.kill(self.pid, SIGTERM)
        assert self.server.wait() == 0


@contextlib.contextmanager
def masters(*options: str, app: str = "site_app:app", **more: object) -> Iterator[Masters]:
    with started(app, *options, **more) as server:  # type: ignore[arg-type]
        yield Masters(server)


@contextlib.contextmanager
def configured(folder: Path, settings: str) -> Iterator[Masters]:
    """A server of whose settings pounce.toml says all, also what to bind."""
    (folder / "pounce.toml").write_text(settings)
    command = f"exec {sys.executable} -m pounce site_app:app --no-access-log"
    prefix = ("sh", "-c", command, "sh")  # what would follow is left out
    with masters(cwd=folder, prefix=prefix) as all:
        yield all


def is_gone(pid: int) -> bool:
    """Or waits only for process 1 to take note, which may not be in a hurry."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
