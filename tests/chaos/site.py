"""A server to be maltreated, with an application whose code can be changed or broken."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP
from typing import Any, Final

import psutil

from pounce.ctl.client import Client
from tests.support.server import Server, started
from tests.support.serverlog import wait_until

APP: Final = Path(__file__).with_name("site_app.py")
START: Final = "async def starting() -> None:\n"

RELOADING: Final = "^reloading generation="

# Ways in which new code may be broken: what stands before it, and what its lifespan begins with.
BROKEN: Final = {
    "import error": ("import no_such_module\n", ""),
    "lifespan failure": ("", 'raise RuntimeError("no database")'),
    "too long a start": ("", "await asyncio.sleep(600)"),
    "death soon after the start": (
        "import psutil\n",
        "asyncio.get_running_loop().call_later(DIES_AFTER, die)",
    ),
}
# Dies as if killed, but says first which connections go with it.
DIE: Final = """
DIES_AFTER = {after}

def die():
    ports = [one.raddr.port for one in psutil.Process().net_connections("tcp") if one.raddr]
    with open({path!r}, "a") as notes:
        notes.write("".join(f"{{port}}\\n" for port in ports))
    os._exit(9)
"""


class Site:
    """A running server and its code.

    Attributes:
        folder: of the code, and for notes of the application.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.control = folder / "control"
        self.server: Server

    def write(self, version: str, *, broken: str = "", dies_after: float = 1.0) -> None:
        """New code, for the next reload."""
        code = APP.read_text().replace('VERSION: Final = "0"', f'VERSION: Final = "{version}"')
        if broken:
            before, begin = BROKEN[broken]
            code = code.replace("import asyncio\n", f"{before}import asyncio\n", 1)
            code = code.replace(START, f"{START}    {begin}\n")
            code += DIE.format(path=str(self.notes), after=dies_after)
        (self.folder / "site_app.py").write_text(code)

    def status(self) -> dict[str, Any]:
        """What `pounce ctl status --json` shows, without a process for it."""
        with Client(self.control) as client:
            return client.ask("status")

    def serving(self, generation: int = 0) -> bool:
        """Is this generation, or any, there to stay, without remains of another?"""
        status = self.status()
        return (
            status["state"] == "serving"
            and (not generation or status["generation"] == generation)
            and len(status["workers"]) == status["slots"]
            and all(worker["stage"] == "serving" for worker in status["workers"])
        )

    def reload(self, version: str) -> float:
        """New code, until nothing else is there; seconds until all of it accepted."""
        log = self.server.log
        earlier = len(log.find(RELOADING))
        self.write(version)
        begun = time.monotonic()
        self.server.signal(SIGHUP)
        generation = int(log.wait_for(RELOADING, times=earlier + 1).text.rpartition("=")[2])
        log.wait_for(f"serving on .* generation={generation} ")
        took = time.monotonic() - begun
        wait_until(lambda: self.serving(generation), f"generation {generation} alone")
        return took

    def worker_of(self, slot: int, *, default: int = 0) -> int:
        """The process id of the worker that serves there."""
        pids = (
            int(one["pid"])
            for one in self.status()["workers"]
            if one["slot"] == slot and one["stage"] == "serving"
        )
        return next(pids, default)

    def accepting(self) -> int:
        """How many workers take connections."""
        workers = self.status()["workers"]
        return sum(one["stage"] == "serving" and one["accepts"] for one in workers)

    def descriptors(self) -> int:
        """Open in the master."""
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def processes(self) -> int:
        """The master and all below it."""
        return 1 + len(psutil.Process(self.server.pid).children(recursive=True))


@contextlib.contextmanager
def site(*options: str, workers: int = 4) -> Iterator[Site]:
    """A server with so many workers, serving version 0."""
    with tempfile.TemporaryDirectory() as folder:
        one = Site(Path(folder))
        one.write("0")
        given = ("--workers", str(workers), "--control-socket", str(one.control), *options)
        with started("site_app:app", "--app-dir", folder, *given) as server:
            one.server = server
            try:
                yield one
            except Exception as error:
                error.add_note(f"the log of the server:\n{server.log.text}")
                raise
