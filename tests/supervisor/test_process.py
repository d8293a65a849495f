"""Forks and ends of real processes."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from pounce.supervisor.process import Ended, decode, fork, reap, send


def nothing() -> None:
    pass


def ended(main: Callable[[], int], *, first: Callable[[], None] = nothing) -> Ended:
    """How a forked process that runs `main` ends."""
    pid = fork(main, first=first)
    _, status = os.waitpid(pid, 0)
    return decode(pid, status)


def leaves(code: object) -> Callable[[], int]:
    def main() -> NoReturn:
        sys.exit(code)  # type: ignore[arg-type]  # whatever an application may give

    return main


def raises() -> int:
    raise ValueError("a fault")


@pytest.mark.parametrize(
    ("main", "status"),
    [(lambda: 0, 0), (lambda: 7, 7), (leaves(3), 3), (leaves("text"), 1), (raises, 1)],
)
def test_a_child_never_comes_back_and_ends_with_its_status(
    main: Callable[[], int], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ended(main).status == status
    assert ("ValueError: a fault" in capfd.readouterr().err) is (main is raises)


def test_a_fault_before_main_ends_the_child_as_well() -> None:
    def first() -> None:
        raise OSError("a bad descriptor")

    assert ended(lambda: 0, first=first).status == 1


def test_an_end_by_a_signal_is_named() -> None:
    def main() -> int:
        os.kill(os.getpid(), signal.SIGUSR2)
        return 0

    one = ended(main)
    assert (one.status, one.signal) == (None, "SIGUSR2")


def test_a_signal_without_a_name_has_its_number() -> None:
    assert decode(1, 40).signal == "signal 40"


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """A handler for SIGTERM, as the master has one."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGTERM, before)


def test_a_child_has_no_handler_of_its_parent_and_is_deaf_to_ctrl_c(handled: list[int]) -> None:
    def main() -> int:
        os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C reaches the whole group
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert ended(main).signal == "SIGTERM"
    assert handled == []


def test_a_child_tells_nobody_of_its_signals() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    os.set_blocking(read_end, False)
    before = signal.set_wakeup_fd(write_end)
    handler = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:

        def main() -> int:
            signal.signal(signal.SIGUSR1, lambda *_: None)
            os.kill(os.getpid(), signal.SIGUSR1)
            return 0

        assert ended(main).status == 0
        with pytest.raises(BlockingIOError):
            os.read(read_end, 1)
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGUSR1, handler)
        os.close(read_end)
        os.close(write_end)


def test_the_mask_is_as_before_on_both_sides() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert ended(lambda: int(signal.pthread_sigmask(signal.SIG_BLOCK, []) != before)).status == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_what_waits_in_a_buffer_is_written_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    with path.open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        print("of the parent", file=out)
        assert ended(lambda: print("of the child", file=out) or 0).status == 0
    assert path.read_text() == "of the parent\nof the child\n"


def test_exit_handlers_run_in_the_process_that_they_were_registered_in(tmp_path: Path) -> None:
    path = tmp_path / "handlers"
    path.touch()

    def note(text: str) -> None:
        with path.open("a") as file:
            file.write(text)

    def main() -> int:
        atexit.register(note, "of the child")
        return 0

    atexit.register(note, "of the parent")
    try:
        assert ended(main).status == 0
    finally:
        atexit.unregister(note)
    assert path.read_text() == "of the child"


def test_reaping_finds_all_that_have_ended() -> None:
    pids = {fork(lambda: 5, first=nothing) for _ in range(3)}
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    seen: dict[int, int | None] = {}
    while set(seen) != pids:
        seen |= {one.pid: one.status for one in reap()}
    assert set(seen.values()) == {5}
    assert [*reap()] == []


def test_a_killed_child_is_gone() -> None:
    def main() -> int:
        signal.pause()
        return 0

    pid = fork(main, first=nothing)
    send(pid, signal.SIGKILL)
    assert decode(*os.waitpid(pid, 0)).signal == "SIGKILL"
