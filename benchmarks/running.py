"""One server process: started on its core, awaited, ended by its pid; knows no server by name."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import procfs

HOST = "127.0.0.1"
START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 10.0
ROOT = Path(__file__).resolve().parent.parent


class BenchmarkError(Exception):
    """A measurement that would be worth nothing: says what went wrong."""


@dataclass(slots=True)
class Started:
    """A server that accepts connections."""

    port: int
    core: int
    process: subprocess.Popen[bytes]
    log: Path
    pids: list[int] = field(default_factory=list)

    def settle(self) -> None:
        """Take down which processes the server consists of; each must stay on its core."""
        self.pids = procfs.tree(self.process.pid)
        if strays := procfs.strays(self.pids, self.core):
            raise BenchmarkError(f"threads {strays} are not pinned to core {self.core}")

    def cpu_ns(self) -> dict[int, int]:
        """CPU time by process. The processes must be those that settle() saw."""
        if procfs.tree(self.process.pid) != self.pids:
            raise BenchmarkError("a process of the server was replaced while it was measured")
        return {pid: procfs.cpu_ns(pid) for pid in self.pids}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The command on one core, with all processes and threads it will ever start."""
    return ["taskset", "--cpu-list", str(core), *command]


@contextlib.contextmanager
def running(command: Sequence[str], *, port: int, core: int, log: Path) -> Iterator[Started]:
    """Run a server's command line on one core until the block ends."""
    with launched(pinned(command, core), port=port, log=log) as process:
        yield Started(port=port, core=core, process=process, log=log)


@contextlib.contextmanager
def launched(command: Sequence[str], *, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The same on whatever cores there are; it accepts when the block begins."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
        )
    try:
        wait_until_it_accepts(process, port)
        yield process
    except (BenchmarkError, OSError) as error:
        raise BenchmarkError(f"{error}\n{last_words(log)}".strip()) from error
    finally:
        stop(process)


def last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def wait_until_it_accepts(process: subprocess.Popen[bytes], port: int) -> None:
    give_up_at = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < give_up_at:
        if (status := process.poll()) is not None:
            raise BenchmarkError(f"the server ended with status {status} before it accepted")
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except ConnectionRefusedError:
            time.sleep(0.01)  # refused at once: without it this loop would take the core
        else:
            return
    raise BenchmarkError(f"no connection accepted within {START_PATIENCE_S:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the first process, and SIGKILL to whoever of the tree is left when patience ends.

    Processes that outlive the first one would take the core of the server measured next.
    """
    if process.poll() is not None:
        return
    pids = procfs.tree(process.pid)
    process.terminate()
    give_up_at = time.monotonic() + STOP_PATIENCE_S
    while time.monotonic() < give_up_at:
        gone = process.poll() is not None
        if gone and not any(procfs.exists(pid) for pid in pids[1:]):
            return
        time.sleep(0.01)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
