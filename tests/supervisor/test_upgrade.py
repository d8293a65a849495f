"""How a new master is started: with what signals, descriptors, directory and environment."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pounce.addresses import TcpAddress
from pounce.inheritance import VARIABLE
from pounce.listeners import Listeners, open_listeners
from pounce.supervisor import orders, process
from pounce.supervisor.upgrade import UNDER_WAY, Command, Upgrades

SHOW: Final = """
import json, os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
said = {
    "blocked": int(status["SigBlk"], 16),
    "ignored": int(status["SigIgn"], 16),
    "directory": os.environ["PWD"],
    "environment": dict(os.environ),
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
}
print(json.dumps(said), file=open(sys.argv[1], "w"))
"""
HANDLERS: Final = {
    signal.SIGHUP: signal.SIG_IGN,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    one = open_listeners([TcpAddress("127.0.0.1", 0)], slots=2, backlog=16)
    yield one
    one.close()


class Old:
    """The side of the old master without a loop."""

    def __init__(self, command: Command | None, listeners: Listeners) -> None:
        self.events: list[orders.Event] = []
        self.selector = selectors.DefaultSelector()
        self.upgrades = Upgrades(
            command,
            listeners=listeners,
            tell=self.events.append,
            selector=self.selector,
            handlers=HANDLERS,
        )

    def end(self) -> process.Ended:
        """Reap the new one."""
        assert self.upgrades._attempt
        ended = process.decode(*os.waitpid(self.upgrades._attempt.pid, 0))
        assert self.upgrades.ended(ended)
        return ended


def inheritable() -> set[int]:
    """What whoever started the tests has left open for everybody."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # what the list was read by
            if os.get_inheritable(int(name)):
                found.add(int(name))
    return found


def bit(number: int) -> int:
    return 1 << (number - 1)


def shown(tmp_path: Path, listeners: Listeners) -> dict[str, Any]:
    """What a new master is like."""
    out = tmp_path / "out"
    argv = (sys.executable, "-S", "-c", SHOW, str(out))
    old = Old(Command(argv, str(tmp_path), {"A": "b"}), listeners)
    assert old.upgrades.begin(0.0, limit_s=60.0) == ""
    assert old.upgrades.begin(0.0, limit_s=60.0) == UNDER_WAY
    assert old.end().status == 0
    assert not old.upgrades.under_way
    assert old.events == []
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_no_signal_reaches_it_before_it_asks_for_them(tmp_path: Path, listeners: Listeners) -> None:
    said = shown(tmp_path, listeners)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD):
        assert said["blocked"] & bit(number)
    assert json.loads(said["environment"][VARIABLE])["mask"] == []


def test_what_was_ignored_at_the_start_is_ignored_again_and_nothing_else(
    tmp_path: Path, listeners: Listeners
) -> None:
    ignored = shown(tmp_path, listeners)["ignored"]
    # The interpreter ignores these two by itself.
    assert ignored == bit(signal.SIGHUP) | bit(signal.SIGPIPE) | bit(signal.SIGXFSZ)


def test_it_gets_the_listeners_and_its_channel_and_nothing_else(
    tmp_path: Path, listeners: Listeners
) -> None:
    with open(tmp_path / "secret", "w"):
        said = shown(tmp_path, listeners)
    handed = json.loads(said["environment"][VARIABLE])
    sockets = handed["rows"][0]["sockets"]
    assert sockets == [listeners.for_slot(0)[0], listeners.for_slot(1)[0]]
    given = {*sockets, handed["channel"], *inheritable()}
    found = set(said["descriptors"])
    assert given < found
    assert len(found - given) == 1, "but what it reads the list by"
    for descriptor in sockets:
        assert not os.get_inheritable(descriptor), "other children do not get them"


def test_it_is_started_as_the_old_one_was(tmp_path: Path, listeners: Listeners) -> None:
    said = shown(tmp_path, listeners)
    del said["environment"][VARIABLE]
    assert said["environment"] == {"A": "b", "PWD": str(tmp_path)} | {
        name: text for name, text in said["environment"].items() if name == "LC_CTYPE"
    }
    assert said["directory"] == str(tmp_path)


def test_a_program_that_is_not_there_fails_the_upgrade(
    tmp_path: Path, listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    old = Old(Command((str(tmp_path / "python"),), str(tmp_path), {}), listeners)
    assert old.upgrades.begin(0.0, limit_s=60.0) == ""
    with caplog.at_level(logging.ERROR):
        old.end()
    assert "upgrade failed, this master serves on: the new one has ended" in caplog.text
    assert old.upgrades.begin(0.0, limit_s=60.0) == "", "another one may be tried"
    old.end()


def test_one_that_goes_neither_by_itself_nor_by_sigterm_is_killed(
    tmp_path: Path, listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    command = Command((sys.executable, "-S", "-c", "import time; time.sleep(600)"), "/", {})
    old = Old(command, listeners)
    assert old.upgrades.begin(100.0, limit_s=20.0) == ""
    old.upgrades.expire(119.0, grace_s=30.0)
    assert old.upgrades.due == 120.0
    old.upgrades.expire(120.0, grace_s=30.0)
    assert 150.0 < old.upgrades.due < 160.0, "its signals are blocked: it does not go"
    old.upgrades.expire(old.upgrades.due, grace_s=30.0)
    assert old.end().signal == "SIGKILL"
    assert "serves on: it does not serve within 20 s" in caplog.text


def test_without_a_command_there_is_no_upgrade(listeners: Listeners) -> None:
    old = Old(None, listeners)
    assert old.upgrades.begin(0.0, limit_s=60.0) == "nobody knows how this server was started"
    assert not old.upgrades.under_way
