"""The master before this one, whose listeners we were started with. Knows the side of the one that
comes; upgrade.py is the side of the one that goes.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
from collections.abc import Callable

from pounce.inheritance import SERVING, Inheritance
from pounce.listeners import Listeners

log = logging.getLogger("pounce")


class Predecessor:
    """It serves on until it is told that we do, and is gone some time later.

    Args:
        inheritance: what it has handed over.
        listeners: opened with that.
        then: what else is to be done in the moment that we are the one; it must not fail.
    """

    def __init__(
        self, inheritance: Inheritance, *, listeners: Listeners, then: Callable[[], None]
    ) -> None:
        self.pid = inheritance.master
        self._mask = inheritance.mask
        self._channel = socket.socket(fileno=inheritance.channel)
        self._channel.setblocking(False)
        self._listeners = listeners
        self._then = then
        self._told = False
        self._over = False

    def unblock_signals(self) -> None:
        """As soon as they do what they should: it blocked them all before it started us."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def watch(self, selector: selectors.BaseSelector, gone: Callable[[], None]) -> None:
        """Have `gone` called when it is not there any more."""

        def on_readable() -> None:
            try:
                said = self._channel.recv(16)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            self._take_over()
            if not said:
                selector.unregister(self._channel)
                log.info("the master before is gone pid=%d", self.pid)
                gone()

        selector.register(self._channel, selectors.EVENT_READ, on_readable)

    def serving(self) -> None:
        """Tell it that we do. Twice is harmless.

        It answers if it makes way: it may have given us up in the same moment.
        """
        if not self._told:
            self._told = True
            with contextlib.suppress(OSError):  # it is gone
                self._channel.send(SERVING)

    def _take_over(self) -> None:
        if not self._over:
            self._over = True
            log.info("taking over from the master before pid=%d", self.pid)
            self._listeners.take_over()
            self._then()

    def close(self) -> None:
        """In the master at its end, and in each process that it forks."""
        self._channel.close()
