"""A real ``python -m pounce`` under test: started, waited for, and at the end proven clean.

The end of each is a test of its own: the exit status is the expected one, no process of the
server's group is left, and the log holds no warning, error or traceback that was not declared.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, Any, Final

import httpx
import psutil
from xprocess import ProcessStarter, XProcess

from tests.support.command import environment
from tests.support.raw import Address, Raw
from tests.support.serverlog import PATIENCE, FileSource, Log, PipeSource, wait_until

SERVING: Final = r"serving on "
APPS: Final = "tests.system.apps"

# A worker that has no processor for a while looks like one that is stalled, and is treated so.
BUSY_MACHINE: Final = ("worker is stalled, others take its connections",)


class Server:
    """A running server.

    Attributes:
        process: the master.
        log: its standard error.
        addresses: what it really listens on, in the order given.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Log) -> None:
        self.process = process
        self.pid = process.pid
        self.log = log
        self.addresses: list[Address] = []

    def wait_until_serving(self) -> None:
        def over() -> bool:
            return bool(self.log.find(SERVING)) or self.process.poll() is not None

        wait_until(over, f"{SERVING} in\n{self.log.text}")
        assert self.log.find(SERVING), f"it ended before it served:\n{self.log.text}"
        names = self.log.find(SERVING)[0].text.removeprefix(SERVING).partition(" workers=")[0]
        self.addresses = [parse_name(name) for name in names.split(", ")]

    @property
    def port(self) -> int:
        address = self.addresses[0]
        assert not isinstance(address, Path)
        return address[1]

    def url(self, path: str = "") -> str:
        address = self.addresses[0]
        return (
            f"http://pounce{path}"
            if isinstance(address, Path)
            else f"http://{host_port(address)}{path}"
        )

    def connect(self, **options: Any) -> Raw:
        """A raw connection to the first address."""
        return Raw(self.addresses[0], **options)

    def client(self, **options: Any) -> httpx.Client:
        """An httpx client whose relative URLs are the server's."""
        address = self.addresses[0]
        if isinstance(address, Path):
            options["transport"] = httpx.HTTPTransport(uds=str(address))
        return httpx.Client(base_url=self.url(), timeout=PATIENCE, trust_env=False, **options)

    def curl(self, path: str, *options: str) -> bytes:
        """What curl prints for a path; fails if curl does."""
        address = self.addresses[0]
        socket = ["--unix-socket", str(address)] if isinstance(address, Path) else []
        done = subprocess.run(
            ["curl", "-sS", "--noproxy", "*", "--max-time", str(PATIENCE), *socket, *options,
             self.url(path)],
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, (done.returncode, done.stderr, done.stdout[:1000])
        return done.stdout

    def workers(self) -> set[int]:
        """The process ids of the master's children that are workers."""
        children = psutil.Process(self.pid).children()
        return {child.pid for child in children if is_worker(child)}

    def signal(self, number: Signals) -> None:
        self.process.send_signal(number)

    def signal_group(self, number: Signals) -> None:
        """To master and workers, as a terminal does for Ctrl-C."""
        os.killpg(self.pid, number)

    def wait(self) -> int:
        """The exit status, once the master has ended and left nobody behind."""
        status = self.process.wait(PATIENCE)
        wait_until(lambda: not group_exists(self.pid), "the end of the last process")
        return status

    def stop(self, *, status: int = 0) -> None:
        """Ends it by SIGTERM unless it has ended, and checks its end and its log."""
        if self.process.poll() is None:
            self.signal(SIGTERM)
        assert self.wait() == status, self.log.text


def parse_name(name: str) -> Address:
    """An address as the log names it."""
    if name.startswith("unix:"):
        return Path(name.removeprefix("unix:"))
    host, _, port = name.rpartition(":")
    return host.strip("[]"), int(port)


def host_port(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_worker(child: psutil.Process) -> bool:
    """Alive, and not a template or a file watcher."""
    try:
        return bool(child.name() == "pounce-worker" and child.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def group_exists(group: int) -> bool:
    """Is there a process of the group that has not ended?

    One that has ended may wait for process 1 to take note, which may not be in a hurry, or for
    these tests themselves, where one of them has made them the parent of orphans.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for one in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(one.pid) == group and one.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def command(app: str, options: Sequence[str]) -> list[str]:
    """The command line. Port 0 and no access log, unless the options say otherwise."""
    target = app if ":" in app else f"{APPS}.{app}:app"
    where = [] if {"--bind", "--port"} & set(options) else ["--port", "0"]
    logs = (
        [] if any(option.startswith("--access-log") for option in options) else ["--no-access-log"]
    )
    return [sys.executable, "-m", "pounce", target, *where, *logs, *options]


def variables(**more: str) -> dict[str, str]:
    """The environment of a server: none of the caller's settings, and no bytecode: two versions of
    a file that were written within one second would be one to the interpreter.
    """
    plain = {key: value for key, value in environment().items() if not key.startswith("POUNCE_")}
    return {**plain, "PYTHONDONTWRITEBYTECODE": "1", **more}


@contextlib.contextmanager
def started(
    app: str,
    *options: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    prefix: Sequence[str] = (),
    serving: bool = True,
) -> Iterator[Server]:
    """A server for one test, in a process group of its own, its log on a pipe.

    Args:
        app: name of a module in tests/system/apps, or a whole "module:attribute".
        prefix: what the command is run by, such as a shell with limits.
        serving: wait until it serves.
    """
    process = subprocess.Popen(
        [*prefix, *command(app, options)],
        env=variables(**(env or {})),
        cwd=cwd,
        stdout=stdout,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    assert process.stderr
    source = PipeSource(process.stderr)
    server = Server(process, Log(source))
    server.log.allow(*BUSY_MACHINE)
    try:
        if serving:
            server.wait_until_serving()
        yield server
        if process.poll() is None:
            server.stop()
        source.close()
        server.log.check()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, SIGKILL)
        process.wait()
        source.close()


@contextlib.contextmanager
def shared(
    xprocess: XProcess, app: str, *options: str, env: dict[str, str] | None = None
) -> Iterator[Server]:
    """A server for many tests, held by xprocess, which shows its log with a test that fails."""

    class Starter(ProcessStarter):  # type: ignore[misc]
        timeout = PATIENCE
        pattern = SERVING
        terminate_on_interrupt = True
        args = command(app, options)

    Starter.env = variables(**(env or {}))
    name = f"pounce-{secrets.token_hex(4)}"  # other runs of these tests may go on beside us
    _, path = xprocess.ensure(name, Starter, persist_logs=False)
    process = xprocess.resources[-1].popen
    server = Server(process, Log(FileSource(Path(path))))
    server.log.allow(*BUSY_MACHINE)
    try:
        server.wait_until_serving()
        yield server
        server.stop()
        server.log.check()
    finally:
        xprocess.getinfo(name).terminate()
        process.wait()
        shutil.rmtree(Path(path).parent, ignore_errors=True)
