"""--reload: what counts as a change, and the process that looks for it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pounce.supervisor import watch as module
from pounce.supervisor.watch import Watcher, snapshot, watch
from tests.support.master import PATIENCE, Start, good


def nothing() -> None:
    pass


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "name", ["main.py", "shop/cart.py", "a/b/c/d.py", "pyproject.toml", "sub/pounce.toml"]
)
def test_code_and_settings_are_watched(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert [*snapshot([tmp_path])] == [str(path)]


@pytest.mark.parametrize(
    "name",
    [
        "main.pyc",
        "page.html",
        "setup.cfg",
        ".git/hook.py",
        ".venv/lib/module.py",
        "venv/lib/module.py",
        "__pycache__/main.py",
        "node_modules/gyp/gyp.py",
        "lib/site-packages/module.py",
    ],
)
def test_what_the_application_does_not_consist_of_is_not_watched(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert snapshot([tmp_path]) == {}


def test_a_link_to_a_directory_is_not_followed_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "sub" / "main.py")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert len(snapshot([tmp_path])) == 1


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    assert snapshot([tmp_path, tmp_path / "missing"]) == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("longer"),
        lambda path: os.utime(path, ns=(1, 1)),
        lambda path: path.unlink(),
        lambda path: path.with_name("new.py").touch(),
    ],
    ids=["written", "touched", "removed", "added"],
)
def test_every_kind_of_change_shows(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = write(tmp_path / "main.py", "text")
    before = snapshot([tmp_path])
    change(path)
    assert snapshot([tmp_path]) != before


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    one = Watcher([tmp_path], first=nothing)
    yield one
    one.close()


def wait_readable(one: Watcher) -> None:
    assert select.select([one.read_end], [], [], PATIENCE)[0], "nothing was reported"


def test_a_change_is_reported_once(watcher: Watcher, tmp_path: Path) -> None:
    assert not watcher.changed()
    # The watcher takes its first look when it likes to: change until it has seen the difference.
    path, turn = tmp_path / "main.py", 0
    while not select.select([watcher.read_end], [], [], 1.2)[0]:
        path.write_text("x" * (turn := turn + 1))
        assert turn < PATIENCE, "nothing was reported"
    assert watcher.changed()
    assert not watcher.changed()


def test_a_watcher_that_dies_is_noticed(watcher: Watcher) -> None:
    os.kill(watcher.pid, signal.SIGKILL)
    wait_readable(watcher)
    with pytest.raises(EOFError):
        watcher.changed()


def test_a_watcher_that_was_reaped_elsewhere_can_be_closed(tmp_path: Path) -> None:
    one = Watcher([tmp_path], first=nothing)
    os.kill(one.pid, signal.SIGKILL)
    os.waitpid(one.pid, 0)
    one.close()


def test_the_watcher_ends_when_the_master_has_closed_its_end(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    assert watch([tmp_path], write_end, master=os.getppid()) == 0
    os.close(write_end)


def test_the_watcher_ends_when_it_has_another_parent(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    assert watch([tmp_path], write_end, master=os.getpid()) == 0
    os.close(read_end)
    os.close(write_end)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the watcher sees, look after look, then StopIteration; it does not wait."""

    def call(*seen: Callable[[], dict[str, tuple[int, int]]]) -> None:
        coming = iter(seen)
        monkeypatch.setattr(module, "INTERVAL_S", 0.0)
        monkeypatch.setattr(module, "snapshot", lambda _: next(coming)())

    return call


def same() -> dict[str, tuple[int, int]]:
    return {}


def other() -> dict[str, tuple[int, int]]:
    return {"main.py": (1, 1)}


def test_a_burst_is_reported_when_it_is_over(looks: Callable[..., None]) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)

    def nothing_yet() -> dict[str, tuple[int, int]]:
        with pytest.raises(BlockingIOError):
            os.read(read_end, 1)
        return other()

    looks(same, other, same, nothing_yet, nothing_yet, other, other)
    with pytest.raises(StopIteration):
        watch([], write_end, master=os.getppid())
    assert os.read(read_end, 10) == b"\n"
    os.close(read_end)
    os.close(write_end)


def test_a_pipe_that_is_full_of_changes_stops_nobody(looks: Callable[..., None]) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 4096)
    looks(same, other, other, same, same)
    with pytest.raises(StopIteration):
        watch([], write_end, master=os.getppid())
    os.close(read_end)
    os.close(write_end)


def test_a_master_that_dies_while_the_files_are_looked_at_is_no_error(
    looks: Callable[..., None],
) -> None:
    read_end, write_end = os.pipe()

    def die() -> dict[str, tuple[int, int]]:
        os.close(read_end)
        return other()

    looks(same, other, die)
    assert watch([], write_end, master=os.getppid()) == 0
    os.close(write_end)


def test_a_changed_file_reloads_the_server_and_a_dead_watcher_does_not_stop_it(
    start: Start, tmp_path: Path
) -> None:
    path = write(tmp_path / "main.py")
    master = start(good, slots=1, reload_dirs=[tmp_path])
    master.wait_for("serving on")
    turn = 0
    while not master.find("info files have changed, reloading"):
        path.write_text("x" * (turn := turn + 1))
        master.poll(1.2)
    master.wait_for("generation=2 after_s")
    (watcher,) = {int(child) for child in children_of(master.pid)} - set(
        master.pids_of("forked a worker")
    )
    os.kill(watcher, signal.SIGKILL)
    master.wait_for(f"error file watcher died, changes are not seen any more pid={watcher}")
    assert master.stop() == 0


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
