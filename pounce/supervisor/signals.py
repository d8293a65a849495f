"""Signals as bytes that a loop can wait for. Knows which are heeded, not what they mean."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Final

HEEDED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)


class Signals:
    """From installed() on, each signal of HEEDED is a byte in a socket.

    Attributes:
        wake: readable when there are some.
        before: how they were handled before, once they are not any more.
    """

    def __init__(self) -> None:
        self.wake, self._wakeup = socket.socketpair()
        self.wake.setblocking(False)
        self._wakeup.setblocking(False)
        self.before: dict[signal.Signals, object] = {}

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """In the main thread.

        The handlers do nothing, but they must be: process 1 gets no signal that has none.
        """
        fd = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, lambda *_: None) for number in HEEDED}
        self.before.update(handlers)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd)
            self.close()  # not before: a signal that could not be written would be complained of

    def read(self) -> Sequence[int]:
        """Those that have come; one that is missing may have come with the others."""
        try:
            return self.wake.recv(4096)
        except BlockingIOError:
            return ()

    def close(self) -> None:
        """In a forked child."""
        self.wake.close()
        self._wakeup.close()
