"""The pid file: when it is there, whom it names, and whom it keeps from starting."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from pounce.errors import ConfigError, UsageError
from pounce.pid_file import PidFile
from tests.support.command import run
from tests.support.server import started
from tests.test_privileges import NOBODY, in_child, needs_root


def pid_file(path: Path) -> PidFile:
    return PidFile(str(path), origin="--pid-file")


@pytest.fixture
def rooted() -> Iterator[Path]:
    """A directory that others may look into and not write to."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_it_holds_the_pid_and_anybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "pounce.pid"
    before = os.umask(0o077)
    try:
        pid_file(path).write()
    finally:
        os.umask(before)
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"


def test_without_a_path_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    none = PidFile("", origin="default")
    none.need_free()
    none.write()
    none.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_its_place_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("dear")
    path = tmp_path / "pounce.pid"
    path.symlink_to(tmp_path / "victim")
    pid_file(path).write()
    assert (tmp_path / "victim").read_text() == "dear"
    assert not path.is_symlink()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_change_of_the_working_directory_does_not_move_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = PidFile("pounce.pid", origin="test")
    one.write()
    monkeypatch.chdir("/")
    one.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "nonsense\n", "99999999\n", "-1\n", "²\n"])
def test_what_names_no_running_master_is_taken(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pounce.pid"
    path.write_text(text)
    one = pid_file(path)
    one.need_free()
    one.write()
    assert path.read_text() == f"{os.getpid()}\n"


def test_the_pid_of_another_program_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "pounce.pid"
    path.write_text(f"{os.getppid()}\n")
    pid_file(path).need_free()


def test_at_the_end_a_file_that_names_another_stays(tmp_path: Path) -> None:
    path = tmp_path / "pounce.pid"
    one = pid_file(path)
    one.write()
    path.write_text(f"{os.getppid()}\n")
    one.remove()
    assert path.read_text() == f"{os.getppid()}\n"


def test_a_place_where_there_can_be_none_is_refused_before_anything_is_bound(
    tmp_path: Path,
) -> None:
    for path, reason in [
        (tmp_path, "it is a directory"),
        (tmp_path / "none" / "pounce.pid", f"there is no directory {tmp_path / 'none'}"),
    ]:
        with pytest.raises(ConfigError) as caught:
            pid_file(path).need_free()
        assert str(caught.value) == (
            f"pid_file is {str(path)!r} (from --pid-file); "
            f"it must be a file that can be written ({reason})"
        )


@needs_root
def test_a_file_of_ours_in_a_directory_of_roots_is_written_in_place_and_emptied(
    rooted: Path,
) -> None:
    path = rooted / "pounce.pid"
    pid_file(path).write(owner=(NOBODY.pw_uid, NOBODY.pw_gid))
    assert path.stat().st_uid == NOBODY.pw_uid

    def act() -> list[str]:
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        one = pid_file(path)
        one.write()
        written = path.read_text()
        one.remove()
        return [written, f"{os.getpid()}\n", path.read_text()]

    written, pid, after = in_child(act)
    assert written == pid
    assert after == ""


@needs_root
def test_a_directory_that_is_not_ours_is_said(rooted: Path) -> None:
    def act() -> str:
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        try:
            pid_file(rooted / "pounce.pid").write()
        except ConfigError as error:
            return str(error)
        return "not refused"

    assert in_child(act).endswith("it must be a file that can be written (Permission denied)")


# The server


def test_it_is_there_while_the_server_serves(tmp_path: Path) -> None:
    path = tmp_path / "pounce.pid"
    with started("probe", "--pid-file", str(path)) as server:
        assert path.read_text() == f"{server.pid}\n"
        server.stop()
        assert not path.exists()


def test_a_second_server_with_the_same_file_is_refused_and_the_first_keeps_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pounce.pid"
    socket = tmp_path / "second.sock"
    with started("probe", "--pid-file", str(path)) as server:
        done = run("pounce.demo:app", "--bind", f"unix:{socket}", "--pid-file", str(path))
        assert done.returncode == UsageError.exit_code
        assert done.stderr.endswith(
            f"pounce: pid_file {path} (from --pid-file) names a pounce master that is running, "
            f"pid={server.pid}; stop it, or choose another file\n"
        )
        assert not socket.exists()
        assert path.read_text() == f"{server.pid}\n"


def test_the_file_of_a_killed_server_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "pounce.pid"
    with started("probe", "--pid-file", str(path)) as server:
        server.log.expect("master is gone, draining")
        server.signal(SIGKILL)
        server.process.wait()
    assert path.read_text() == f"{server.pid}\n"
    with started("probe", "--pid-file", str(path)) as server:
        assert path.read_text() == f"{server.pid}\n"


def test_a_start_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "pounce.pid"
    done = run("no_such_module:app", "--port", "0", "--pid-file", str(path))
    assert done.returncode == 3
    assert list(tmp_path.iterdir()) == []
