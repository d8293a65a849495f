"""Another master in place of the one that runs, while clients go on asking."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import pytest

from tests.support.masters import configured, masters
from tests.support.raw import Raw
from tests.support.serverlog import wait_until
from tests.system.test_reload import Clients, write
from tests.test_privileges import status_of

# These bring load with them, and are not run beside each other.
pytestmark = pytest.mark.xdist_group("load")


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
        wait_until(lambda: len(all.workers()) == 2, "the workers")
        before = descriptors(min(all.workers()))
        all.upgrade()
        with all.server.connect() as raw:
            assert raw.get("/").body == b"[]"
        for pid in (all.pid, *all.workers()):
            assert int(status_of(pid)["SigBlk"][0], 16) == 0, "no signal is blocked any more"
        # The connection that has just been answered is closed by its client first.
        wait_until(lambda: descriptors(min(all.workers())) == before, "the same descriptors")
        all.stop()


def test_the_new_master_watches_the_files_where_the_old_one_did(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with masters("--app-dir", str(tmp_path), "--reload") as all:
        all.upgrade()
        all.log.wait_for("serving on", times=2)
        begun = time.monotonic()

        def reloaded() -> bool:
            nonlocal begun
            if time.monotonic() > begun:  # a change before its first look would be missed
                begun += 3.0
                write(tmp_path, f"at {begun}")
            with all.server.connect() as raw:
                return raw.get("/").body.startswith(b"at ")

        wait_until(reloaded, "a reload by the new master")
        all.stop()


def descriptors(pid: int) -> list[str]:
    """The kinds of what a process has open."""
    links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    return sorted(link.partition(":")[0] for link in links)
