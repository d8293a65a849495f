"""Another master in place of this one: started beside it with its listeners, waited for, made way
for. Knows the master that goes; predecessor.py is the side of the one that comes.

The two share the listening sockets, so no request is lost however it ends: until the new one has
said that it serves nothing changes here, and from then on this one only retires.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from pounce.errors import EXIT_BOOT, EXIT_OK
from pounce.inheritance import SERVING, VARIABLE, YOURS, Inheritance
from pounce.listeners import Listeners
from pounce.supervisor import orders, process, systemd

log = logging.getLogger("pounce")

# A new master that was told to go, after the time its workers get, before SIGKILL.
GRACE_S: Final = 5.0
UNDER_WAY: Final = "an upgrade is under way"
STOPPING: Final = "stopping"


@dataclass(frozen=True, slots=True)
class Command:
    """How this process was started, to do it again.

    Attributes:
        argv: with the interpreter.
        directory: where; by the path that it was reached by, which may be a link that points to
            the next release by now.
        environment: as it was.
    """

    argv: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]

    @classmethod
    def own(cls) -> Command:
        """To be called before anything of it is changed."""
        directory = os.environ.get("PWD", "")
        try:
            followed = bool(directory) and os.path.samefile(directory, os.curdir)
        except OSError:
            followed = False
        if not followed:
            directory = os.getcwd()
        environment = {key: text for key, text in os.environ.items() if key != VARIABLE}
        return cls(tuple(sys.orig_argv), directory, environment)

    def run(self, **more: str) -> NoReturn:
        """Become it.

        Raises:
            OSError: the directory or the program is not there.
        """
        os.chdir(self.directory)
        os.execvpe(  # noqa: S606  # what we are run by ourselves
            self.argv[0], self.argv, {**self.environment, **more, "PWD": self.directory}
        )


@dataclass(slots=True)
class _Attempt:
    """A new master, until it serves or has ended.

    Attributes:
        channel: where it says that it serves; our end stays open until we are gone.
        due: when it must serve; when it is killed, once it was told to go.
        overdue: what is wrong with it then.
        failure: why it was told to go.
    """

    pid: int
    channel: socket.socket
    due: float
    overdue: str
    failure: str = ""


class Upgrades:
    """From SIGUSR2 to the new master's first word, or its end.

    Args:
        command: how to start it; None: there is none that would start this server again.
        listeners: what it gets.
        tell: takes the event.
        selector: where its channel is watched.
        handlers: how signals were handled before they were the server's; filled in by the caller.
    """

    def __init__(
        self,
        command: Command | None,
        *,
        listeners: Listeners,
        tell: Callable[[orders.Event], None],
        selector: selectors.BaseSelector,
        handlers: Mapping[signal.Signals, object],
    ) -> None:
        self._command = command
        self._listeners = listeners
        self._tell = tell
        self._selector = selector
        self._handlers = handlers
        self._attempt: _Attempt | None = None
        self._successor: _Attempt | None = None

    @property
    def under_way(self) -> bool:
        return self._attempt is not None

    @property
    def done(self) -> bool:
        """Another master is in our place."""
        return self._successor is not None

    @property
    def due(self) -> float:
        """When to call expire()."""
        return self._attempt.due if self._attempt else math.inf

    def begin(self, now: float, *, limit_s: float) -> str:
        """Start a new master; "" or why there is none.

        Args:
            limit_s: how long it may take until it serves.
        """
        if self._attempt:
            return UNDER_WAY
        if self._command is None:
            return "nobody knows how this server was started"
        if os.getpid() == 1:
            # The others of a container, or of a machine, end with it.
            return "this is process 1, which nothing can outlive; start another container instead"
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                pid = self._start(self._command, theirs)
        except OSError as error:
            return f"no process can be made ({error.strerror})"
        ours.setblocking(False)
        overdue = f"it does not serve within {limit_s:g} s"
        self._attempt = _Attempt(pid, ours, now + limit_s, overdue)
        self._selector.register(ours, selectors.EVENT_READ, self._on_channel)
        log.info("upgrading, a new master starts pid=%d limit_s=%g", pid, limit_s)
        return ""

    def _start(self, command: Command, theirs: socket.socket) -> int:
        handed = Inheritance(
            master=os.getpid(),
            channel=theirs.fileno(),
            mask=tuple(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
            rows=self._listeners.bequest(),
        )

        def become() -> None:
            # No signal arrives from here until the new one can take it: by default most kill.
            self._restore_handlers()
            try:
                for descriptor in handed.descriptors:
                    os.set_inheritable(descriptor, True)
                command.run(**{VARIABLE: handed.encode()})
            except OSError as error:
                what = os.fsdecode(error.filename or command.argv[0])
                log.error("new master cannot be started: %s path=%s", error.strerror, what)
                os._exit(EXIT_BOOT)

        return process.fork(lambda: EXIT_BOOT, first=become)

    def _restore_handlers(self) -> None:
        """What is ignored stays so in the new program; what has a handler gets the default."""
        for number, handler in self._handlers.items():
            ignored = handler is signal.SIG_IGN
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter's own
            signal.signal(number, signal.SIG_DFL)

    # What the new master does

    def _on_channel(self) -> None:
        attempt = self._attempt
        if not attempt:  # its end has been seen in the same moment
            return
        try:
            said = attempt.channel.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self._selector.unregister(attempt.channel)
        if said == SERVING:
            if not attempt.failure:  # else it was told to go in the same moment, and goes
                self._retire(attempt)
        else:
            # Mostly it has ended, and how will be told in a moment.
            attempt.overdue = "it has closed its channel without a word"
            attempt.due = min(attempt.due, time.monotonic() + GRACE_S)

    def _retire(self, attempt: _Attempt) -> None:
        self._attempt, self._successor = None, attempt
        self._listeners.lend()
        with contextlib.suppress(OSError):  # it has ended, which is told next
            attempt.channel.send(YOURS)
        log.info("new master serves, retiring pid=%d", attempt.pid)
        systemd.notify(f"MAINPID={attempt.pid}")
        self._tell(orders.Upgraded())

    def ended(self, ended: process.Ended) -> bool:
        """A process has been reaped; False when it was no master."""
        if (attempt := self._attempt) and attempt.pid == ended.pid:
            if attempt.channel in self._selector.get_map():
                self._on_channel()  # its last word is older than its end
            if self._attempt:
                self._fail(attempt, ended)
                return True
        if (successor := self._successor) and successor.pid == ended.pid:
            level = logging.INFO if ended.status == EXIT_OK else logging.ERROR
            log.log(level, "new master has ended, and nobody serves %s", _how(ended))
            return True
        return False

    def _fail(self, attempt: _Attempt, ended: process.Ended) -> None:
        if attempt.channel in self._selector.get_map():
            self._selector.unregister(attempt.channel)
        attempt.channel.close()
        self._attempt = None
        if attempt.failure != STOPPING:
            reason = attempt.failure or "the new one has ended"
            text = "upgrade failed, this master serves on: %s pid=%d %s"
            log.error(text, reason, attempt.pid, _how(ended))

    # What we do with it

    def expire(self, now: float, *, grace_s: float) -> None:
        """End a new master whose time is over.

        Args:
            grace_s: how long its workers may take to go, as long as it goes by its signals.
        """
        attempt = self._attempt
        if not attempt or now < attempt.due:
            return
        if attempt.failure:
            attempt.due = math.inf
            process.send(attempt.pid, signal.SIGKILL)
        else:
            self._dismiss(attempt, attempt.overdue, now + grace_s + GRACE_S)

    def cancel(self) -> None:
        """Nobody is wanted any more, neither here nor there."""
        if self._attempt and not self._attempt.failure:
            self._dismiss(self._attempt, STOPPING, math.inf)

    def _dismiss(self, attempt: _Attempt, failure: str, due: float) -> None:
        attempt.failure, attempt.due = failure, due
        process.send(attempt.pid, signal.SIGTERM)

    def close(self) -> None:
        """In the master at its end, and in each process that it forks."""
        for one in (self._attempt, self._successor):
            if one:
                one.channel.close()


def _how(ended: process.Ended) -> str:
    return f"signal={ended.signal}" if ended.signal else f"status={ended.status}"
