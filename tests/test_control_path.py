"""Where the control socket is, whose it is, and what is in the way."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pounce.control_path import (
    ControlSocket,
    directories,
    open_control,
    own_directory,
    remove_leftover,
    sockets_in,
)
from pounce.errors import BindError, ConfigError

Open = Callable[..., ControlSocket | None]
NO_PROCESS = 2**22 + 1  # above the kernel's own limit, PID_MAX_LIMIT


@pytest.fixture
def open_() -> Iterator[Open]:
    opened: list[ControlSocket] = []

    def call(setting: str | Path, **more: Any) -> ControlSocket | None:
        if one := open_control(str(setting), origin="--control-socket", **more):
            opened.append(one)
        return one

    yield call
    for each in opened:
        each.socket.close()
        each.file.remove()


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that "auto" takes, and nothing of the real ones."""
    directory = tmp_path / "runtime"
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(directory))
    return directory


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def leave(path: Path) -> None:
    """What a server that was killed leaves."""
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


# Which directory


@pytest.mark.parametrize(
    ("environ", "uid", "directory"),
    [
        ({}, 0, "/run/pounce"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/pounce"),
        ({}, 1000, "/tmp/pounce-1000"),
        ({"XDG_RUNTIME_DIR": "/run/user/1000"}, 1000, "/run/user/1000/pounce"),
        ({"RUNTIME_DIRECTORY": "/run/shop"}, 0, "/run/shop"),
        ({"RUNTIME_DIRECTORY": "/run/shop:/run/more", "XDG_RUNTIME_DIR": "/x"}, 9, "/run/shop"),
    ],
)
def test_auto_goes_by_who_runs_the_server(
    environ: dict[str, str], uid: int, directory: str
) -> None:
    assert own_directory(environ, uid) == Path(directory)
    assert directories(environ, uid)[0] == Path(directory)


def test_servers_are_looked_for_wherever_auto_may_have_put_them() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/7"}
    assert directories(environ, 7) == [
        Path("/run/user/7/pounce"),
        Path("/run/pounce"),
        Path("/tmp/pounce-7"),
    ]
    assert directories({}, 0) == [Path("/run/pounce"), Path("/tmp/pounce-0")]


def test_inside_a_service_only_that_service_is_meant() -> None:
    environ = {"XDG_RUNTIME_DIR": "/run/user/7", "RUNTIME_DIRECTORY": "/run/shop"}
    assert directories(environ, 7) == [Path("/run/shop")]


# What is made


def test_auto_makes_a_socket_that_is_named_after_the_process(open_: Open, runtime: Path) -> None:
    one = open_("auto")
    path = runtime / f"{os.getpid()}.sock"
    assert one
    assert one.file.path == str(path)
    assert connects(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert list(sockets_in(runtime)) == [path]


def test_a_path_is_taken_as_it_is(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "here.sock"
    assert open_(path)
    assert connects(path)


def test_off_makes_nothing(open_: Open, runtime: Path) -> None:
    assert open_("off") is None
    assert not runtime.exists()


def test_a_leftover_at_the_path_is_replaced(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "here.sock"
    leave(path)
    assert open_(path)
    assert connects(path)


def test_leftovers_of_other_servers_are_removed(open_: Open, runtime: Path) -> None:
    dead = runtime / f"{NO_PROCESS}.sock"
    leave(dead)
    (runtime / "notes.txt").touch()
    assert open_("auto")
    assert not dead.exists()
    assert (runtime / "notes.txt").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_socket_can_be_given_to_the_user_that_the_server_becomes(
    open_: Open, tmp_path: Path
) -> None:
    path = tmp_path / "here.sock"
    open_(path, owner=(12345, 12346))
    seen = path.stat()
    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (12345, 12346, 0o600)


def test_a_successor_takes_the_path_over_and_the_one_before_leaves_it_alone(
    open_: Open, tmp_path: Path
) -> None:
    path = tmp_path / "here.sock"
    before, after = open_(path), open_(path, replace=True)
    assert before
    assert after
    before.socket.close()
    before.file.remove()
    assert connects(path)
    assert os.listdir(tmp_path) == ["here.sock"]


# What is refused


def test_a_path_that_somebody_listens_at_is_a_wrong_setting(open_: Open, tmp_path: Path) -> None:
    path = tmp_path / "here.sock"
    open_(path)
    with pytest.raises(ConfigError, match=r"--control-socket.*a process listens there"):
        open_(path)
    assert connects(path)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing/here.sock", "there is no directory"),
        ("file", "a file that is no socket is in the way"),
        ("x" * 120, "path too long"),
    ],
)
def test_a_path_that_cannot_be_is_a_wrong_setting(
    open_: Open, tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"control_socket is .*--control-socket.*{why}"):
        open_(tmp_path / name)


@pytest.mark.parametrize("how", ["open to all", "a link", "a file"])
def test_auto_does_not_trust_a_directory_that_others_can_change(
    open_: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    directory = tmp_path / "pounce"
    monkeypatch.setattr("pounce.control_path.own_directory", lambda *_: directory)
    match how:
        case "open to all":
            directory.mkdir()
            directory.chmod(0o777)
        case "a link":
            directory.symlink_to(tmp_path)
        case "a file":
            directory.touch()
    with pytest.raises(BindError, match="is no directory that only this user can write to"):
        open_("auto")


def test_auto_without_a_place_to_be_is_no_wrong_setting(
    open_: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "missing" / "below"))
    with pytest.raises(BindError, match="cannot be made"):
        open_("auto")


# What is left


def test_only_what_nobody_listens_at_and_no_process_made_is_a_leftover(
    open_: Open, tmp_path: Path
) -> None:
    dead, alive = tmp_path / f"{NO_PROCESS}.sock", tmp_path / f"{NO_PROCESS + 1}.sock"
    starting = tmp_path / f"{os.getpid()}.sock"  # bound, and about to listen
    leave(dead)
    leave(starting)
    open_(alive)
    assert [remove_leftover(path) for path in (dead, alive, starting)] == [True, False, False]
    assert set(sockets_in(tmp_path)) == {alive, starting}
    assert not remove_leftover(tmp_path / "1.sock")
