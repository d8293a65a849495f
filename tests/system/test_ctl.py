"""`pounce ctl` against real servers: what it shows is so, and what it asks for happens."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import IO, Any, Final

import psutil
import pytest

from pounce import __version__
from pounce.ctl.client import Client
from tests.support.notes import Notes
from tests.support.server import Server, started, variables
from tests.support.serverlog import PATIENCE, wait_until
from tests.system.test_reload import APP, write

NO_PROBATION: Final = ("--probation", "0")


class Operator:
    """Someone with a shell beside the server."""

    def __init__(self, socket: Path) -> None:
        self._env = variables(POUNCE_CONTROL_SOCKET=str(socket), COLUMNS="100", TERM="xterm")

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "pounce", "ctl", *args]

    def ctl(self, *args: str, status: int = 0) -> str:
        """What the command prints, on standard error where it ends with another status than 0."""
        done = subprocess.run(
            self.command(*args), env=self._env, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == status, (done.stdout, done.stderr)
        assert (done.stderr if status == 0 else done.stdout) == ""
        return done.stdout if status == 0 else done.stderr

    def status(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.ctl("status", "--json"))
        return said

    @contextlib.contextmanager
    def beginning(self, *args: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """A command that takes its time."""
        with subprocess.Popen(
            self.command(*args), env=self._env, text=True, stdout=subprocess.PIPE, **options
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@contextlib.contextmanager
def served(folder: Path, app: str, *options: str) -> Iterator[tuple[Server, Operator]]:
    path = folder / "control.sock"
    with started(app, "--control-socket", str(path), *options) as server:
        yield server, Operator(path)
    assert not path.exists(), "a server that ends leaves nothing"


def lifespan(code: str) -> str:
    """An application that does this when it is started."""
    return APP.replace('raise RuntimeError("no lifespan here")', code)


def kill(server: Server) -> None:
    server.log.expect("master is gone")
    server.signal(SIGKILL)
    assert server.wait() == -SIGKILL


def stages(status: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(one["slot"], one["generation"], one["stage"]) for one in status["workers"]]


def test_status_is_what_is_there(tmp_path: Path) -> None:
    with served(tmp_path, "probe", "--workers", "2") as (server, operator):
        with server.connect() as raw:
            raw.get("/")
            raw.get("/")
            wait_until(
                lambda: sum(one["requests"] for one in operator.status()["workers"]) == 2,
                "a heartbeat with both requests",
            )
            status = operator.status()
            assert sum(one["connections"] for one in status["workers"]) == 1
        assert (status["pid"], status["version"]) == (server.pid, __version__)
        assert status["app"] == "tests.system.apps.probe:app"
        assert status["addresses"] == [f"127.0.0.1:{server.port}"]
        assert (status["state"], status["generation"], status["slots"]) == ("serving", 1, 2)
        assert stages(status) == [(0, 1, "serving"), (1, 1, "serving")]
        assert {one["pid"] for one in status["workers"]} == server.workers()
        for process in [status, *status["workers"], *status["templates"]]:
            assert process["rss"] > process["uss"] > 0
            assert process["cpu_percent"] >= 0

        screen = operator.ctl("status")
        assert f"pounce {__version__}  tests.system.apps.probe:app" in screen
        assert f"listens on 127.0.0.1:{server.port}" in screen
        for pid in server.workers():
            assert re.search(rf"^ +\d +{pid} +1  ● serving ", screen, re.MULTILINE)


def test_reload_that_waits_ends_when_the_new_code_serves_for_good(tmp_path: Path) -> None:
    write(tmp_path, "one")
    options = ("--app-dir", str(tmp_path), "--workers", "2", "--probation", "0.2")
    with served(tmp_path, "site_app:app", *options) as (server, operator):
        write(tmp_path, "two")
        assert operator.ctl("reload", "--wait").startswith("generation 2 serves, after ")
        with server.connect() as raw:
            assert raw.get("/").body == b"two"
        status = operator.status()
        assert (status["generation"], status["coming"]) == (2, 0)
        assert status["last_reload"]["ok"] is True
        assert "last reload generation 2 took over" in operator.ctl("status")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module\n", "site_app fails to import: .*no_such_module"),
        (lifespan("await receive(); 1 / 0"), "worker failed: application raised during lifespan"),
        (
            lifespan("__import__('os')._exit(9)"),
            r"worker died \(status=9\)",
        ),
    ],
    ids=["import", "lifespan", "death"],
)
def test_reload_that_waits_fails_with_the_reason(code: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, "one")
    options = ("--app-dir", str(tmp_path), "--workers", "2")
    with served(tmp_path, "site_app:app", *options) as (server, operator):
        write(tmp_path, "two", code=code)
        server.log.expect("reload failed, the old code serves on", ".* failed|worker died")
        told = operator.ctl("reload", "--wait", status=1)
        assert re.match(rf"pounce: generation 2 was given up, 1 serves on: .*({said})", told)
        with server.connect() as raw:
            assert raw.get("/").body == b"one"
        status = operator.status()
        assert status["last_reload"]["ok"] is False
        assert re.search(said, status["last_reload"]["why"])
        assert "generation 2 was given up" in operator.ctl("status")


@pytest.mark.parametrize("preload", ["on", "off"])
def test_no_child_keeps_what_is_the_masters(preload: str, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with (
        served(tmp_path, "probe", "--preload", preload, *NO_PROBATION) as (server, operator),
        Client(path) as client,  # it is connected while workers are forked
    ):
        client.ask("status")
        operator.ctl("reload", "--wait")
        master = psutil.Process(server.pid)
        assert str(path) in {one.laddr for one in master.net_connections("unix")}
        for child in master.children(recursive=True):
            assert str(path) not in {one.laddr for one in child.net_connections("unix")}


def test_reload_with_wrong_settings_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    settings = tmp_path / "pounce.toml"
    settings.write_text("workers = 2\n")
    with started("probe", "--control-socket", str(path), cwd=tmp_path) as server:
        operator = Operator(path)
        settings.write_text("workers = 9999\n")
        server.log.expect("settings are wrong, nothing is reloaded")
        told = operator.ctl("reload", "--wait", status=1)
        assert told.startswith("pounce: nothing is reloaded: workers is 9999 (from pounce.toml)")
        assert operator.status()["generation"] == 1
        settings.write_text("workers = 3\n")
        operator.ctl("reload", "--wait")
        wait_until(lambda: len(server.workers()) == 3, "a third worker")


def test_a_reload_that_is_not_waited_for_says_its_generation(tmp_path: Path) -> None:
    with served(tmp_path, "probe", *NO_PROBATION) as (server, operator):
        assert operator.ctl("reload") == "reloading, generation 2\n"
        server.log.wait_for("serving on .* generation=2 ")


def test_scale_changes_the_number_of_workers_both_ways(tmp_path: Path) -> None:
    with served(tmp_path, "probe", "--workers", "2") as (server, operator):
        assert operator.ctl("scale", "3") == "scaling to 3 workers\n"
        wait_until(lambda: len(server.workers()) == 3, "a third worker")
        wait_until(lambda: len(stages(operator.status())) == 3, "it in the status")
        assert operator.ctl("scale", "1") == "scaling to 1 worker\n"
        wait_until(lambda: len(server.workers()) == 1, "one worker alone")
        assert [one["pid"] for one in operator.status()["workers"]] == [*server.workers()]


def test_what_drains_is_shown_with_what_is_left(tmp_path: Path, notes: Notes) -> None:
    with (
        served(tmp_path, "probe", *NO_PROBATION) as (server, operator),
        server.connect() as one,
        server.connect() as other,
    ):
        for raw in (one, other):
            raw.send(f"GET /hold?{notes.query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        notes.wait_for("begun", times=2)
        operator.ctl("reload", "--wait")

        def draining() -> list[dict[str, Any]]:
            return [worker for worker in operator.status()["workers"] if worker["leaving"]]

        wait_until(lambda: [each["open_at_drain"] for each in draining()] == [2], "both are open")
        (old,) = draining()
        assert old["generation"] == 1
        assert 0 < old["left_s"] <= 31
        screen = operator.ctl("status")
        assert "leaving: 1 worker" in screen
        assert re.search(rf"^ +0 +{old['pid']} +1  ● draining .* of 2 ", screen, re.MULTILINE)
        notes.open_gate()
        wait_until(lambda: not draining(), "its end")


def test_stop_that_waits_ends_when_the_server_has_ended(tmp_path: Path) -> None:
    with served(tmp_path, "probe", "--workers", "2") as (server, operator):
        said = operator.ctl("stop", "--wait")
        assert said == "stopping; another pounce ctl stop hurries\nstopped\n"
        assert server.wait() == 0


def test_who_waits_for_a_reload_hears_that_the_server_stops(tmp_path: Path) -> None:
    options = ("--probation", "600", "--workers", "1")
    with (
        served(tmp_path, "probe", *options) as (server, operator),
        operator.beginning("reload", "--wait", stderr=subprocess.PIPE) as waiting,
    ):
        server.log.wait_for("serving on .* generation=2 ")
        assert operator.status()["state"] == "probation"
        operator.ctl("stop")
        out, err = waiting.communicate(timeout=PATIENCE)
        assert (out, err) == ("", "pounce: nothing is reloaded: the server stops\n")
        assert waiting.returncode == 1
        assert server.wait() == 0


def test_no_server_ends_with_a_status_of_its_own(tmp_path: Path) -> None:
    operator = Operator(tmp_path / "control.sock")
    assert "there is no such socket" in operator.ctl("status", status=7)
    with served(tmp_path, "probe") as (server, _):
        kill(server)
        assert "nobody listens there any more" in operator.ctl("status", status=7)
        (tmp_path / "control.sock").unlink()


def test_a_server_takes_the_place_of_one_that_was_killed(tmp_path: Path) -> None:
    with served(tmp_path, "probe") as (server, _):
        kill(server)
        with served(tmp_path, "probe") as (second, operator):
            assert operator.status()["pid"] == second.pid


def test_two_servers_cannot_have_one_socket(tmp_path: Path) -> None:
    with served(tmp_path, "probe") as (_, operator):
        path = str(tmp_path / "control.sock")
        with started("probe", "--control-socket", path, serving=False) as second:
            assert second.process.wait(PATIENCE) == 2
            second.log.expect("pounce: control_socket is .*a process listens there")
        assert operator.status()["state"] == "serving"


def test_auto_is_found_by_the_pid_and_off_is_not_there(tmp_path: Path) -> None:
    runtime = {"RUNTIME_DIRECTORY": str(tmp_path / "run")}
    with started("probe", env=runtime) as server, started("probe", env=runtime) as other:
        operator = Operator(Path("auto"))
        operator._env |= runtime
        assert "2 servers run here" in operator.ctl("status", status=2)
        for one in (server, other):
            told = json.loads(operator.ctl("status", "--json", "--pid", str(one.pid)))
            assert told["pid"] == one.pid
        operator.ctl("stop", "--wait", "--pid", str(other.pid))
        assert operator.status()["pid"] == server.pid
    assert os.listdir(tmp_path / "run") == []
    with started("probe", "--control-socket", "off", env=runtime):
        assert "no server found" in operator.ctl("status", status=7)


def test_a_server_without_a_place_for_its_socket_serves_all_the_same(tmp_path: Path) -> None:
    nowhere = {"RUNTIME_DIRECTORY": str(tmp_path / "missing" / "below")}
    with started("probe", env=nowhere) as server:
        server.log.expect("pounce ctl cannot reach this server: .* cannot be made")
        with server.connect() as raw:
            assert raw.get("/").status == 200


class Screen:
    """A terminal that a command was given, and all that it has drawn."""

    def __init__(self, terminal: IO[bytes]) -> None:
        self.drawn = b""
        self._terminal = terminal

    def wait_for(self, pattern: bytes) -> None:
        while not re.search(pattern, self.drawn):
            readable, _, _ = select.select([self._terminal], [], [], PATIENCE)
            assert readable, f"{pattern!r} was not drawn: {self.drawn!r}"
            self.drawn += os.read(self._terminal.fileno(), 65536)

    def type(self, keys: bytes) -> None:
        os.write(self._terminal.fileno(), keys)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[Screen, int]]:
    ours, theirs = pty.openpty()
    with open(ours, "r+b", buffering=0) as one:
        try:
            yield Screen(one), theirs
        finally:
            os.close(theirs)


@pytest.mark.parametrize("way", ["q", "Ctrl-C", "the server ends"])
def test_top_refreshes_and_leaves_the_terminal_as_it_was(way: str, tmp_path: Path) -> None:
    with (
        served(tmp_path, "probe", "--workers", "2") as (server, operator),
        terminal() as (
            screen,
            tty,
        ),
    ):
        with subprocess.Popen(
            operator.command("top", "--interval", "0.1"),
            env=operator._env, stdin=tty, stdout=tty, stderr=tty, start_new_session=True,
        ) as top:  # fmt: skip
            try:
                screen.wait_for(rb"\x1b\[\?1049h")  # the other screen, which terminals have for it
                screen.wait_for(rb"serving")
                operator.ctl("scale", "3")
                wait_until(lambda: len(server.workers()) == 3, "a third worker")
                for pid in server.workers():
                    screen.wait_for(str(pid).encode())
                match way:
                    case "q":
                        screen.type(b"q")
                    case "Ctrl-C":
                        top.send_signal(SIGINT)
                    case _:
                        operator.ctl("stop")
                        screen.wait_for(b"the server has ended")
                        assert server.wait() == 0
                screen.wait_for(rb"\x1b\[\?1049l")
                assert top.wait(PATIENCE) == 0
            finally:
                top.kill()
        assert b"Traceback" not in screen.drawn


def test_top_into_a_pipe_is_one_screen_after_the_other(tmp_path: Path) -> None:
    with (
        served(tmp_path, "probe") as (_, operator),
        operator.beginning("top", "--interval", "0.1") as top,
    ):
        assert top.stdout
        heads = (line for line in top.stdout if "probe:app" in line)
        assert "\x1b" not in next(heads)
        assert next(heads)
        top.send_signal(SIGINT)
        assert top.wait(PATIENCE) == 0
