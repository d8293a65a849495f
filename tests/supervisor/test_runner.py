"""The master's loop with real forks: workers that are a few lines, and all that may befall them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pounce import ipc
from pounce.addresses import TcpAddress
from pounce.errors import EXIT_BOOT, EXIT_LOAD
from pounce.listeners import open_listeners
from pounce.scoreboard import Scoreboard
from pounce.supervisor.runner import Runner, WorkerEntry

PATIENCE = 30.0  # seconds; only a failing test waits so long


class Talk:
    """A worker's end of its channel, the plain way."""

    def __init__(self, seat: ipc.Seat) -> None:
        self._socket = socket.socket(fileno=seat.control)
        self._socket.setblocking(True)
        self._reader = ipc.LineReader()
        self._heard: list[ipc.Message] = []

    def say(self, message: ipc.ToMaster) -> None:
        self._socket.send(ipc.encode(message))

    def hear(self) -> ipc.Message | None:
        """The next message; None when the master is gone."""
        while not self._heard:
            data = self._socket.recv(4096)
            if not data:
                return None
            self._heard += map(ipc.decode, self._reader.feed(data))
        return self._heard.pop(0)


def good(seat: ipc.Seat) -> int:
    """Serves, and goes when it is told to."""
    talk = Talk(seat)
    talk.say(ipc.Ready())
    assert isinstance(talk.hear(), ipc.Go)
    talk.say(ipc.Accepting())
    while not isinstance(message := talk.hear(), ipc.Drain | None):
        pass
    if message is not None:
        talk.say(ipc.Drained(0))
    return 0


@pytest.fixture
def master(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., int]]:
    """Runs a Runner in this process; `then` happens in a thread once the log says `when`."""
    caplog.set_level(logging.DEBUG, logger="pounce")
    threads: list[threading.Thread] = []

    def run(entry: WorkerEntry, *steps: tuple[str, Callable[[], None]], slots: int = 2) -> int:
        over = threading.Event()

        def act() -> None:
            seen = 0
            end = time.monotonic() + PATIENCE
            for when, then in steps:
                while not any(when in text for text in caplog.messages[seen:]):
                    if over.wait(0.005):
                        return
                    if time.monotonic() > end:
                        os.kill(os.getpid(), signal.SIGTERM)
                        return
                seen = len(caplog.messages)
                then()

        thread = threading.Thread(target=act)
        threads.append(thread)
        # The workers' side forks from a process with this thread; it holds no lock across a fork.
        thread.start()
        listeners = open_listeners([TcpAddress("127.0.0.1", 0)], slots=slots, backlog=16)
        try:
            return Runner(
                entry,
                listeners=listeners,
                slots=slots,
                scoreboard=Scoreboard(slots * 4),
                start_timeout=20.0,
                shutdown_timeout=20.0,
            ).run()
        finally:
            over.set()

    yield run
    for thread in threads:
        thread.join(PATIENCE)


def tell(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


def test_workers_serve_until_sigterm(
    master: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    assert master(good, ("serving on", tell(signal.SIGTERM))) == 0
    assert sum("worker is gone" in text for text in caplog.messages) == 2
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (ipc.Failed(EXIT_LOAD, "no module named shop", "Traceback of it"), EXIT_LOAD),
        (None, EXIT_BOOT),
    ],
)
def test_a_first_start_that_fails_ends_with_its_status(
    message: ipc.Failed | None,
    status: int,
    master: Callable[..., int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def entry(seat: ipc.Seat) -> int:
        if message:
            Talk(seat).say(message)
        return 9

    assert master(entry) == status
    if message:
        assert sum("no module named shop" in text for text in caplog.messages) == 1


def test_a_worker_that_dies_is_replaced_and_its_end_named(
    master: Callable[..., int], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    mark = tmp_path / "died"

    def entry(seat: ipc.Seat) -> int:
        if seat.slot == 1 and not mark.exists():
            talk = Talk(seat)
            talk.say(ipc.Ready())
            talk.hear()
            talk.say(ipc.Accepting())
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return good(seat)

    steps = (
        ("worker died", lambda: None),
        ("forked a worker", tell(signal.SIGTERM)),
    )
    assert master(entry, *steps) == 0
    assert any(
        "worker died slot=1" in text and "signal=SIGKILL" in text for text in caplog.messages
    )


def test_sighup_brings_a_new_generation_before_the_old_one_goes(
    master: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    steps = (("serving on", tell(signal.SIGHUP)), ("generation=2 after_s", tell(signal.SIGTERM)))
    assert master(good, *steps) == 0
    texts = caplog.messages
    second = next(at for at, text in enumerate(texts) if "generation=2 after_s" in text)
    assert all("worker is gone" not in text for text in texts[:second])


def test_a_reload_that_fails_leaves_the_old_workers(
    master: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    def entry(seat: ipc.Seat) -> int:
        if seat.generation > 1:
            Talk(seat).say(ipc.Failed(EXIT_LOAD, "broken", ""))
            return EXIT_LOAD
        return good(seat)

    steps = (("serving on", tell(signal.SIGHUP)), ("old code serves on", tell(signal.SIGTERM)))
    assert master(entry, *steps) == 0
    assert all("worker died" not in text for text in caplog.messages)


def test_a_child_that_nobody_started_is_reaped(
    master: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    def stray() -> None:
        if os.fork() == 0:
            os._exit(4)

    steps = (("serving on", stray), ("none of ours", tell(signal.SIGTERM)))
    assert master(good, *steps) == 0


def test_nonsense_of_a_worker_is_passed_over(
    master: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    def entry(seat: ipc.Seat) -> int:
        os.write(seat.control, b"nonsense\n" + ipc.encode(ipc.Go()))
        return good(seat)

    assert master(entry, ("serving on", tell(signal.SIGTERM))) == 0
    assert any("sent nonsense" in text for text in caplog.messages)
    assert any("sent an order" in text for text in caplog.messages)
