"""Serving from the command line and from code: the banner, the address, the exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pounce import __version__
from pounce.config import Config
from pounce.errors import ConfigError
from pounce.serve import addresses_of, banner, need_access_log, url_of
from tests.support.command import environment, move_to, run

SERVING = re.compile(r"serving on 127\.0\.0\.1:(\d+) ")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    move_to(tmp_path, monkeypatch)
    return tmp_path


class Served:
    """A running server: its port, and its log as far as it was read."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log: list[str] = []
        self.port = int(self.wait_for(SERVING)[1])

    def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            if match := pattern.search(line):
                return match
        raise AssertionError(f"the server ended without {pattern.pattern}: {self.log}")

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            body: bytes = answer.read()
            return body

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=60)
        self.log += err.splitlines()
        return self.process.returncode


@contextmanager
def serving(*command: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Served(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize(("loop", "http"), [("auto", "auto"), ("asyncio", "h11")])
def test_the_demo_is_served_by_the_workers_and_stops_on_a_signal(
    loop: str, http: str, here: Path
) -> None:
    settings = ("--workers", "2", "--port", "0", "--loop", loop, "--http", http)
    with serving("-m", "pounce", "pounce.demo:app", *settings) as served:
        master = served.process.pid
        assert b"<title>pounce</title>" in served.get("/")
        assert json.loads(served.get("/whoami"))["pid"] != master
        assert served.stop() == 0
    title, address, workers = (line.partition("info    ")[2] for line in served.log[:3])
    assert title.startswith(f"pounce {__version__} serves pounce.demo:app pid={master} python=3.")
    assert address == f"address http://127.0.0.1:{served.port}"
    assert re.fullmatch(
        r"workers=2 loop=(uvloop|asyncio) http=(httptools|h11) http2=h2 websockets=on", workers
    )
    if loop == "asyncio":
        assert workers == "workers=2 loop=asyncio http=h11 http2=h2 websockets=on"
    assert not [line for line in served.log if re.search(r"\] (warning|error|critical) ", line)]


def test_the_log_is_json_where_it_is_asked_for(here: Path) -> None:
    done = run("main:nothing", "--port", "0", "--log-format", "json")
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert said[0]["message"].startswith(f"pounce {__version__} serves main:nothing pid=")
    assert {record["logger"] for record in said} == {"pounce"}


def test_an_object_is_served_by_run(here: Path) -> None:
    (here / "program.py").write_text(
        "import main, pounce\n"
        "pounce.run(main.hello, port=0, access_log=False, forwarded_allow_ips=[])\n"
        "print('after')\n"
    )
    with serving("program.py") as served:
        assert served.get("/") == b"hello"
        served.process.send_signal(signal.SIGTERM)
        out, _ = served.process.communicate(timeout=60)
        assert (served.process.returncode, out) == (0, "after\n")
    assert "serves an object of the calling program (function)" in served.log[0]


def test_run_ends_the_program_with_the_status_when_nothing_can_be_served(here: Path) -> None:
    (here / "program.py").write_text("import pounce\npounce.run('broken:app', port=0)\n")
    done = subprocess.run(
        [sys.executable, "program.py"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["broken:app"], 3, "module broken fails to import: ValueError: at import"),
        (["main:nothing"], 3, "module main has no attribute nothing"),
        (["nowhere:app"], 3, "there is no module nowhere in "),
        (["main:table"], 3, "main:table is a dict, not an ASGI application"),
        (["main:failing"], 4, "application startup failed: no database"),
        (["main:app", "--lifespan", "on"], 4, "during lifespan startup"),
        (["main:leaving"], 6, ""),
        (["main:hanging", "--start-timeout", "0.5"], 6, ""),
    ],
)
def test_a_server_that_cannot_start_says_why_and_ends_with_its_own_status(
    args: list[str], status: int, message: str, here: Path
) -> None:
    done = run(*args, "--port", "0", "--workers", "2")
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "pounce/supervisor" not in done.stderr
    assert done.stdout == ""


def test_code_that_raises_is_shown_where_it_raised(here: Path) -> None:
    done = run("broken:app", "--port", "0")
    assert f'File "{here}/broken.py", line 1' in done.stderr
    assert "pounce/app.py" not in done.stderr


def test_an_address_that_is_taken_is_one_line_and_its_own_status(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("main:app", "--port", str(port))
    assert done.returncode == 5
    assert done.stderr.startswith(f"pounce: 127.0.0.1:{port} cannot be bound: ")
    assert done.stderr.count("\n") == 1


def test_the_banner_names_every_address_as_something_to_click_on() -> None:
    assert url_of("127.0.0.1:80") == "http://127.0.0.1:80"
    assert url_of("[::1]:80") == "http://[::1]:80"
    assert url_of("unix:/run/x") == "unix:/run/x"
    lines = banner(Config(app="main:app", http="h11", loop="asyncio"), ["[::1]:80", "unix:/x"])
    assert lines[1:] == [
        "address http://[::1]:80",
        "address unix:/x",
        "workers=1 loop=asyncio http=h11 http2=h2 websockets=on",
    ]


def test_an_access_log_that_can_be_written_is_not_made_before_it_is_needed(here: Path) -> None:
    need_access_log(Config(access_log_file="new.log"))
    assert not (here / "new.log").exists()
    (here / "old.log").touch()
    need_access_log(Config(access_log_file="old.log"))
    need_access_log(Config(access_log_file="no/where.log", access_log=False))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_access_log_that_may_not_be_written_is_refused(here: Path) -> None:
    (here / "old.log").touch(0o400)
    with pytest.raises(ConfigError, match="not permitted"):
        need_access_log(Config(access_log_file="old.log"))


def test_an_owner_that_is_not_known_is_refused_with_where_it_was_given(here: Path) -> None:
    done = run("pounce.demo:app", "--port", "0", "--uds-owner", "no-such")
    assert done.returncode == 2
    assert "uds_owner is 'no-such' (from --uds-owner)" in done.stderr.splitlines()[-1]


def test_every_address_is_parsed_before_any_is_opened() -> None:
    assert len(list(addresses_of(Config(bind=(":80", "unix:/x", "fd://3"))))) == 3


def test_a_master_holds_none_of_what_only_workers_need() -> None:
    code = "import sys, pounce.cli, pounce.serve; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"asyncio", "ssl", "uvloop", "h11", "httptools", "psutil"} & {*done.stdout.split()}
