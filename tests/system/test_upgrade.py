"""Another master in place of the one that runs, while clients go on asking."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM, SIGTTIN, SIGUSR2
from typing import Final

import psutil
import pytest

from tests.support.raw import Raw
from tests.support.server import Server, is_worker, started
from tests.support.serverlog import wait_until
from tests.system.test_reload import Clients, write
from tests.test_privileges import status_of

# Importing it takes until somebody opens the other end of the pipe that it names.
SLOW: Final = """
open({pipe!r}).close()
from old_app import app
"""


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


# All is well


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_upgrades_in_a_row_lose_no_request(workers: str, loop: str, tmp_path: Path) -> None:
    write(tmp_path, "one")
    options = ("--app-dir", str(tmp_path), "--workers", workers, "--loop", loop)
    with masters(*options) as all:
        clients = Clients(all.server)
        with clients.asking():
            for version in ("two", "three"):
                write(tmp_path, version)
                all.upgrade()
                clients.wait_for(version.encode())
        assert clients.failures == []
        assert set(clients.bodies) == {b"one", b"two", b"three"}
        wait_until(lambda: len(all.workers()) == int(workers), "the workers")
        all.stop()


def test_a_unix_socket_stays_what_it_is_and_goes_with_the_last_master(tmp_path: Path) -> None:
    write(tmp_path, "one")
    path = tmp_path / "app.sock"
    options = ("--bind", f"unix:{path}", "--app-dir", str(tmp_path), "--workers", "2")
    with masters(*options) as all:
        inode = path.stat().st_ino
        clients = Clients(all.server)
        with clients.asking():
            write(tmp_path, "two")
            all.upgrade()
            clients.wait_for(b"two")
        assert clients.failures == []
        assert path.stat().st_ino == inode
        all.stop()
        assert not path.exists()


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_the_new_master_may_have_another_number_of_workers(
    before: int, after: int, tmp_path: Path
) -> None:
    write(tmp_path, "one")
    settings = tmp_path / "pounce.toml"
    settings.write_text(f"workers = {before}\n")
    with masters("--app-dir", str(tmp_path), cwd=tmp_path) as all:
        clients = Clients(all.server)
        with clients.asking():
            write(tmp_path, "two")
            settings.write_text(f"workers = {after}\n")
            all.upgrade()
            clients.wait_for(b"two")
            wait_until(lambda: len(all.workers()) == after, "the new number of workers")
            clients.wait_for(b"two")
        assert clients.failures == []
        # And again, now that the kernel counts the slots in another order.
        all.upgrade()
        with all.server.connect() as raw:
            assert raw.get("/").body == b"two"
        all.stop()


def test_one_queue_for_all_can_become_one_for_each(tmp_path: Path) -> None:
    write(tmp_path, "one")
    settings = tmp_path / "pounce.toml"
    settings.write_text('listen_mode = "shared"\nworkers = 2\n')
    with masters("--app-dir", str(tmp_path), cwd=tmp_path) as all:
        clients = Clients(all.server)
        with clients.asking():
            for mode in ("slots", "shared"):  # back again: the queues that are there stay
                settings.write_text(f'listen_mode = "{mode}"\nworkers = 2\n')
                all.upgrade()
        assert clients.failures == []
        all.stop()


def test_addresses_may_come_and_go(tmp_path: Path) -> None:
    write(tmp_path, "one")
    settings = tmp_path / "pounce.toml"
    old, new = tmp_path / "old.sock", tmp_path / "new.sock"
    with configured(tmp_path, f'bind = ["unix:{old}", "127.0.0.1:0"]\n') as all:
        before = all.server.addresses[1]
        settings.write_text(f'bind = ["127.0.0.1:0", "unix:{new}"]\n')
        all.upgrade()
        for address in (before, new):
            with contextlib.closing(Raw(address)) as raw:
                assert raw.get("/").body == b"one"
        assert not old.exists()
        all.stop()
        assert not new.exists()


def test_a_socket_that_was_open_before_us_is_passed_on(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with socket.create_server(("127.0.0.1", 0)) as one:
        number = one.fileno()
        options = ("--bind", f"fd://{number}", "--app-dir", str(tmp_path))
        with masters(*options, pass_fds=[number]) as all:
            write(tmp_path, "two")
            all.upgrade()
            with all.server.connect() as raw:
                assert raw.get("/").body == b"two"
            all.stop()


def test_a_release_behind_a_link_is_followed(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        write(tmp_path / version, version)
    link = tmp_path / "current"
    link.symlink_to("one")
    with masters(cwd=link, env={"PWD": str(link)}) as all:
        with all.server.connect() as raw:
            assert raw.get("/").body == b"one"
        link.unlink()
        link.symlink_to("two")
        all.upgrade()
        with all.server.connect() as raw:
            assert raw.get("/").body == b"two"
        all.stop()


def test_pid_file_control_socket_and_systemd_are_told_of_the_new_master(tmp_path: Path) -> None:
    write(tmp_path, "one")
    pid_file, control, notify = (tmp_path / name for name in ("pid", "control", "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.settimeout(60)
        options = ("--pid-file", str(pid_file), "--control-socket", str(control))
        env = {"NOTIFY_SOCKET": str(notify)}
        with masters(*options, "--app-dir", str(tmp_path), env=env) as all:
            all.upgrade()
            said = manager.recv(1024).decode().split("\n")
            while f"MAINPID={all.pid}" not in said:
                said = manager.recv(1024).decode().split("\n")
            wait_until(lambda: pid_file.read_text() == f"{all.pid}\n", "the new pid")
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(control))
                one.settimeout(60)
                credentials = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                assert int.from_bytes(credentials[:4], "little") == all.pid
            all.stop()
            assert not pid_file.exists()
            assert not control.exists()


def test_nothing_of_the_upgrade_is_left_in_the_new_processes(tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(
        "import os\n\n"
        "SEEN = sorted(name for name in os.environ if name.startswith('POUNCE'))\n\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': repr(SEEN).encode()})\n"
    )
    with masters("--app-dir", str(tmp_path), "--workers", "2") as all:
        before = descriptors(min(all.workers()))
        all.upgrade()
        with all.server.connect() as raw:
            assert raw.get("/").body == b"[]"
        for pid in (all.pid, *all.workers()):
            assert int(status_of(pid)["SigBlk"][0], 16) == 0, "no signal is blocked any more"
        assert descriptors(min(all.workers())) == before
        all.stop()


def test_signals_that_were_ignored_at_the_start_are_ignored_by_what_comes(tmp_path: Path) -> None:
    write(tmp_path, "one")
    prefix = ("nohup",)  # which ignores SIGHUP
    with masters("--app-dir", str(tmp_path), prefix=prefix) as all:
        all.upgrade()
        write(tmp_path, "two")
        os.kill(all.pid, SIGHUP)  # a server reloads all the same
        all.log.wait_for("serving on .* generation=2")
        all.stop()


# All is not well


@pytest.mark.parametrize(
    ("file", "text", "status", "said"),
    [
        ("site_app.py", "import no_such_module\n", 3, "template failed: .*no_such_module"),
        ("site_app.py", "import os\nos._exit(9)\n", 6, "template failed: it died"),
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
    settings.write_text("start_timeout = 0.3\n")
    with masters("--app-dir", str(tmp_path), cwd=tmp_path) as all:
        make_slow(tmp_path, slow)
        settings.write_text("start_timeout = 600\n")  # so it is the old one that gives up
        failed = "upgrade failed, this master serves on: it does not serve within 0.6 s"
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


def is_gone(pid: int) -> bool:
    """Or waits only for process 1 to take note, which may not be in a hurry."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def starting(all: Masters) -> int:
    """The pid of the new master, once its application is being imported."""

    def templates() -> list[psutil.Process]:
        found = psutil.Process(all.pid).children(recursive=True)
        return [one for one in found if one.name() == "pounce-template"]

    wait_until(lambda: len(templates()) == 2, "a second template")
    (new,) = {int(one.ppid()) for one in templates()} - {all.pid}
    return new


def descriptors(pid: int) -> list[str]:
    """The kinds of what a process has open."""
    links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    return sorted(link.partition(":")[0] for link in links)


@contextlib.contextmanager
def configured(folder: Path, settings: str) -> Iterator[Masters]:
    """A server of whose settings pounce.toml says all, also what to bind."""
    (folder / "pounce.toml").write_text(settings)
    command = f"exec {sys.executable} -m pounce site_app:app --no-access-log"
    prefix = ("sh", "-c", command, "sh")  # what would follow is left out
    with masters(cwd=folder, prefix=prefix) as all:
        yield all
