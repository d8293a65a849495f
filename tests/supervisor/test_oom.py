"""The count of processes that were killed for want of memory, read from files like a cgroup's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pounce.supervisor.oom import OomKills


class Group:
    """A cgroup in a directory."""

    def __init__(self, root: Path, *, path: str = "/app/web") -> None:
        self.root = root / "root"
        self.table = root / "cgroup"
        self.table.write_text(f"1:name=systemd:/elsewhere\n0::{path}\n")
        self.events = self.root / path.lstrip("/") / "memory.events"
        self.events.parent.mkdir(parents=True)

    def kills(self, count: int) -> None:
        self.events.write_text(
            f"low 0\nhigh 90\nmax 91\noom 92\noom_kill {count}\noom_group_kill 93\n"
        )

    def watch(self) -> OomKills:
        return OomKills(self.table, self.root)


@pytest.mark.parametrize("path", ["/app/web", "/"])
def test_a_kill_is_noticed_once(tmp_path: Path, path: str) -> None:
    group = Group(tmp_path, path=path)
    group.kills(3)
    oom = group.watch()
    assert not oom.grew(), "those before us are not ours"
    group.kills(4)
    assert oom.grew()
    assert not oom.grew()
    group.kills(9)
    assert oom.grew()


def test_without_a_count_nothing_is_claimed(tmp_path: Path) -> None:
    group = Group(tmp_path)
    oom = group.watch()
    assert not oom.grew()
    group.events.write_text("oom_kill many\n")
    assert not oom.grew()
    group.kills(1)
    assert oom.grew(), "the file came later"
    group.events.unlink()
    assert not oom.grew()


@pytest.mark.parametrize("text", ["", "4:memory:/app\n"], ids=["empty", "only v1"])
def test_without_a_group_of_its_own_nothing_is_claimed(tmp_path: Path, text: str) -> None:
    group = Group(tmp_path)
    group.table.write_text(text)
    oom = group.watch()
    group.kills(1)
    assert not oom.grew()
    group.table.unlink()
    assert not group.watch().grew()
