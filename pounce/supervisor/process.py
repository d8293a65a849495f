"""Forking and the end of processes. Knows signals, exit statuses and descriptors; no slots."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from pounce.errors import EXIT_CRASH


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: by exit (`status`) or by a signal (`signal`, such as "SIGKILL")."""

    pid: int
    status: int | None
    signal: str


def fork(
    main: Callable[[], int], *, first: Callable[[], None], keep_exit_handlers: bool = False
) -> int:
    """The pid of a new process that runs `first` and `main` and exits with what `main` returns.

    In the child no signal arrives before `first` is done: an inherited wakeup descriptor would
    report it to the master. Then all handlers are the defaults, but SIGINT is ignored: Ctrl-C
    reaches the whole process group, and the master decides what it means. The child never
    returns into the caller's code.

    Args:
        keep_exit_handlers: those registered so far are the application's, which the caller has
            imported, and run at the new process's end.

    Raises:
        OSError: no process could be made (EAGAIN, ENOMEM).
    """
    _flush()  # or the child would write what waits in the buffers a second time
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            if not keep_exit_handlers:
                atexit._clear()  # the master's are the master's
            _child(main, first, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _child(
    main: Callable[[], int], first: Callable[[], None], mask: set[int | signal.Signals]
) -> NoReturn:
    status = EXIT_CRASH
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        first()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = main()
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else EXIT_CRASH
    except BaseException:
        traceback.print_exc()
    finally:
        # The application's own exit handlers still run, as in any process that it is imported in.
        try:
            atexit._run_exitfuncs()
            logging.shutdown()
            _flush()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # Closed, full, or None (no console): nothing that could still be said about it.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def reap() -> Iterator[Ended]:
    """Every child that has ended since, also those we never started (we may be process 1).

    SIGCHLD says "look", never how many: 40 exits arrived as one.
    """
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield decode(pid, status)


def decode(pid: int, status: int) -> Ended:
    """What wait(2) reported, in words a log can use."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return Ended(pid, code, "")
    try:
        name = signal.Signals(-code).name
    except ValueError:  # real-time signals have no name of their own
        name = f"signal {-code}"
    return Ended(pid, None, name)


def send(pid: int, number: signal.Signals) -> None:
    """A signal for a child of ours; nothing where it has ended in the meantime."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
