"""A new master that does not come to serve, and what happens while it is still on its way."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM, SIGTTIN, SIGUSR2
from typing import Final

import psutil
import pytest

from tests.support.masters import Masters, configured, is_gone, masters
from tests.support.server import started
from tests.support.serverlog import wait_until
from tests.system.test_reload import Clients, write

# Importing it takes until somebody opens the other end of the pipe that it names.
SLOW: Final = """
open({pipe!r}).close()
from old_app import app
"""

# These bring load with them, and are not run beside each other.
pytestmark = pytest.mark.xdist_group("load")


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Path]:
    """The pipe that the import of a new version waits for; opening it lets the import go on."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    write(tmp_path, "one")
    yield pipe
    # Whoever waits for it still, though the test has failed.
    with contextlib.suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


def make_slow(folder: Path, pipe: Path) -> None:
    write(folder, "two")
    (folder / "site_app.py").rename(folder / "old_app.py")
    (folder / "site_app.py").write_text(SLOW.format(pipe=str(pipe)))


def let_go(pipe: Path) -> None:
    with open(pipe, "w"):
        pass


@pytest.mark.parametrize(
    ("file", "text", "status", "said"),
    [
        ("site_app.py", "import no_such_module\n", 3, "template failed: .*no_such_module"),
        (
            "site_app.py",
            "import os\nos._exit(9)\n",
            6,
            "template failed: the process that imports .* died",
        ),
        ("pounce.toml", "workers = 'many'\n", 2, ""),
        ("pounce.toml", 'bind = ["192.0.2.1:80"]\n', 5, ""),
    ],
    ids=["import", "death", "settings", "address"],
)
def test_a_new_master_that_fails_changes_nothing(
    file: str, text: str, status: int, said: str, tmp_path: Path
) -> None:
    write(tmp_path, "one")
    path = tmp_path / "app.sock"
    with configured(tmp_path, f'bind = ["unix:{path}", "127.0.0.1:0"]\nworkers = 2\n') as all:
        before = all.workers()
        clients = Clients(all.server)
        with clients.asking():
            good = (tmp_path / file).read_text() if (tmp_path / file).exists() else ""
            (tmp_path / file).write_text(text)
            failed = f"upgrade failed, this master serves on: .*status={status}"
            all.log.expect(failed, *([said, "the server cannot start"] if said else ["pounce: "]))
            all.ask()
            all.log.wait_for(failed)
            clients.wait_for(b"one")
            (tmp_path / file).write_text(good)
            write(tmp_path, "two")
            all.upgrade()
            clients.wait_for(b"two")
        assert clients.failures == []
        assert before.isdisjoint(all.workers())
        all.stop()
        assert not path.exists()


def test_a_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    write(folder, "one")
    with masters("--app-dir", str(folder), cwd=folder) as all:
        folder.rename(tmp_path / "moved")
        all.log.expect(f"new master cannot be started: .* path={folder}", "upgrade failed")
        all.ask()
        all.log.wait_for("upgrade failed, this master serves on")
        with all.server.connect() as raw:
            assert raw.get("/").body == b"one"


def test_a_new_master_that_never_serves_is_ended(slow: Path, tmp_path: Path) -> None:
    settings = tmp_path / "pounce.toml"
    settings.write_text("start_timeout = 1.5\n")
    with masters("--app-dir", str(tmp_path), cwd=tmp_path) as all:
        make_slow(tmp_path, slow)
        settings.write_text("start_timeout = 600\n")  # so it is the old one that gives up
        failed = "upgrade failed, this master serves on: it does not serve within 3 s"
        all.log.expect(failed)
        all.ask()
        all.log.wait_for(failed)
        with all.server.connect() as raw:
            assert raw.get("/").body == b"one"


def test_a_new_master_that_is_killed_changes_nothing(slow: Path, tmp_path: Path) -> None:
    with masters("--app-dir", str(tmp_path), "--workers", "2") as all:
        clients = Clients(all.server)
        with clients.asking():
            make_slow(tmp_path, slow)
            all.ask()
            os.kill(starting(all), SIGKILL)
            failed = "upgrade failed, this master serves on: .* signal=SIGKILL"
            all.log.expect(failed)
            all.log.wait_for(failed)
            clients.wait_for(b"one")
        assert clients.failures == []


def test_while_one_is_under_way_nothing_else_is_begun(slow: Path, tmp_path: Path) -> None:
    with masters("--app-dir", str(tmp_path)) as all:
        make_slow(tmp_path, slow)
        all.ask()
        starting(all)
        for number, said in [
            (SIGUSR2, "no upgrade: an upgrade is under way"),
            (SIGHUP, "an upgrade is under way, nothing is reloaded"),
            (SIGTTIN, "an upgrade is under way, the number of workers stays"),
        ]:
            all.log.expect(said)
            os.kill(all.pid, number)
            all.log.wait_for(said)
        let_go(slow)
        all.arrive()
        assert len(all.log.find("taking over")) == 1
        with all.server.connect() as raw:
            assert raw.get("/").body == b"two"
        assert len(all.workers()) == 1
        all.stop()


def test_a_stop_ends_the_new_master_too(slow: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with masters("--app-dir", str(tmp_path), "--bind", f"unix:{path}") as all:
        make_slow(tmp_path, slow)
        all.ask()
        starting(all)
        all.stop()  # which is the old one, and waits for the end of all
        assert not path.exists()


def test_the_death_of_the_old_master_does_not_stop_the_new_one(slow: Path, tmp_path: Path) -> None:
    path, pid_file = tmp_path / "app.sock", tmp_path / "pid"
    options = ("--bind", f"unix:{path}", "--pid-file", str(pid_file))
    with masters("--app-dir", str(tmp_path), *options) as all:
        make_slow(tmp_path, slow)
        all.ask()
        new = starting(all)
        all.log.expect("master is gone, draining")
        os.kill(all.pid, SIGKILL)
        all.server.process.wait()
        all.log.wait_for("the master before is gone")
        let_go(slow)
        with all.server.connect() as raw:
            assert raw.get("/").body == b"two"
        assert pid_file.read_text() == f"{new}\n"
        os.kill(new, SIGTERM)
        wait_until(lambda: is_gone(new), "the end")
        assert not path.exists()


def test_during_a_reload_there_is_none(slow: Path, tmp_path: Path) -> None:
    with masters("--app-dir", str(tmp_path)) as all:
        make_slow(tmp_path, slow)
        os.kill(all.pid, SIGHUP)
        all.log.wait_for("reloading")
        all.log.expect("no upgrade: a reload is under way")
        all.ask()
        all.log.wait_for("no upgrade")
        let_go(slow)
        all.log.wait_for("serving on .* generation=2")


def test_process_1_cannot_be_followed(tmp_path: Path) -> None:
    write(tmp_path, "one")
    prefix = ("unshare", "--pid", "--fork", "--kill-child")
    if os.geteuid() != 0:
        pytest.skip("only root can make a namespace of processes")
    with started("site_app:app", "--app-dir", str(tmp_path), prefix=prefix) as server:
        (first,) = psutil.Process(server.pid).children()
        server.log.expect("no upgrade: this is process 1")
        first.send_signal(SIGUSR2)
        server.log.wait_for("no upgrade: this is process 1")
        with server.connect() as raw:
            assert raw.get("/").body == b"one"
        first.terminate()
        server.wait()


def starting(all: Masters) -> int:
    """The pid of the new master, once its application is being imported."""

    def templates() -> list[psutil.Process]:
        found = psutil.Process(all.pid).children(recursive=True)
        return [one for one in found if one.name() == "pounce-template"]

    wait_until(lambda: len(templates()) == 2, "a second template")
    (new,) = {int(one.ppid()) for one in templates()} - {all.pid}
    return new
