"""Unix sockets through open_listeners(): rights, stale files, double starts, and the removal."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pounce.addresses import FdAddress, UnixAddress
from pounce.errors import BindError, ConfigError
from pounce.listeners import Listeners, open_listeners
from pounce.socket_file import ids_of

Open = Callable[..., Listeners]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.sock"


@pytest.fixture
def open_() -> Iterator[Open]:
    opened: list[Listeners] = []

    def call(path: Path | str, **more: Any) -> Listeners:
        opened.append(open_listeners([UnixAddress(str(path))], slots=2, backlog=8, **more))
        return opened[-1]

    yield call
    for each in opened:
        each.close()


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(path))
    return client


def leave_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_is_exact_whatever_the_umask(open_: Open, path: Path, mode: int) -> None:
    before = os.umask(0o027)
    try:
        open_(path, uds_mode=mode)
        assert os.umask(0o027) == 0o027, "and the umask is what it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_all_slots_share_the_socket_and_it_listens_at_once(open_: Open, path: Path) -> None:
    listeners = open_(path)
    assert listeners.names == (f"unix:{path}",)
    assert listeners.for_slot(0) == listeners.for_slot(1)
    connect(path).close()
    listeners.listen(0)
    connect(path).close()


def test_a_relative_path_stays_where_it_was_when_we_move(
    open_: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    listeners = open_(path.name)
    monkeypatch.chdir("/")
    assert listeners.names == (f"unix:{path}",)
    listeners.close()
    assert not path.exists()


@as_root
def test_the_owner_is_given_by_name_or_by_number(open_: Open, path: Path) -> None:
    open_(path, uds_owner="1234:4321", uds_mode=0o620)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o620)


def test_an_owner_may_be_a_user_a_group_or_both() -> None:
    assert ids_of("", origin="x") == (-1, -1)
    assert ids_of("root", origin="x") == (0, -1)
    assert ids_of(":root", origin="x") == (-1, 0)
    assert ids_of("root:7", origin="x") == (0, 7)


@pytest.mark.parametrize("owner", ["no-such-user", ":no-such-group", "root:no-such-group"])
def test_an_owner_that_is_not_known_is_a_setting_that_cannot_be_used(
    open_: Open, path: Path, owner: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^uds_owner is '{owner}' \(from POUNCE_UDS_OWNER\)"):
        open_(path, uds_owner=owner, uds_owner_origin="POUNCE_UDS_OWNER")
    assert not path.exists()


def test_a_file_that_a_dead_server_left_is_replaced(open_: Open, path: Path) -> None:
    leave_stale(path)
    open_(path)
    connect(path).close()


def test_a_socket_that_somebody_listens_on_is_left_alone(open_: Open, path: Path) -> None:
    open_(path)
    before = path.stat().st_ino
    with pytest.raises(BindError) as refused:
        open_(path)
    assert str(refused.value) == (
        f"unix:{path} cannot be bound: a process listens there; stop it, or choose another path"
    )
    assert path.stat().st_ino == before
    connect(path).close()


def test_a_listener_with_a_full_queue_is_somebody_too(open_: Open, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = connect(path)
        with pytest.raises(BindError, match="a process listens there"):
            open_(path)
        waiting.close()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "directory"])
def test_what_is_no_socket_is_never_removed(
    open_: Open, path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    with pytest.raises(BindError, match="a file that is no socket is in the way; remove it"):
        open_(path)
    assert path.exists()


def test_a_link_is_not_followed(open_: Open, path: Path) -> None:
    target = path.with_name("target.sock")
    leave_stale(target)
    path.symlink_to(target)
    with pytest.raises(BindError, match="a file that is no socket is in the way"):
        open_(path)
    assert target.exists()


def test_a_missing_directory_is_named(open_: Open, path: Path) -> None:
    with pytest.raises(BindError, match=rf"there is no directory {path}; create it first"):
        open_(path / "app.sock")


def test_what_is_not_permitted_is_said(open_: Open, path: Path) -> None:
    if os.geteuid() != 0:
        path.parent.chmod(0o500)
        with pytest.raises(BindError, match="not permitted"):
            open_(path)
        return
    pid = os.fork()  # root may write everywhere; nobody may not
    if pid == 0:
        status = 1
        try:
            os.setuid(65534)
            open_("/root-only.sock")
        except BindError as error:
            status = 0 if "not permitted; the user needs write access to / " in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_file_is_removed_at_the_end(open_: Open, path: Path) -> None:
    open_(path).close()
    assert not path.exists()


def test_the_file_of_a_successor_is_not_removed(open_: Open, path: Path) -> None:
    first = open_(path)
    path.rename(path.with_name("moved"))  # or the inode of the first might come again
    open_(path)
    first.close()
    connect(path).close()


def test_a_file_that_is_gone_already_is_no_error(open_: Open, path: Path) -> None:
    listeners = open_(path)
    path.unlink()
    listeners.close()


def test_an_abandoned_copy_leaves_the_file(open_: Open, path: Path) -> None:
    listeners = open_(path)
    listeners.abandon()
    assert path.exists()


def test_an_inherited_unix_socket_is_named_by_its_path_and_its_file_is_not_ours(
    path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        address = FdAddress(os.dup(given.fileno()))
        listeners = open_listeners([address], slots=1, backlog=8)
        assert listeners.names == (f"unix:{path}",)
        listeners.close()
        assert path.exists()
