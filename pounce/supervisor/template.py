"""The process that imports the application once per generation and forks its workers.

The workers share its memory, and a replacement is there in the time of a fork. The master itself
never imports the application: what a reload brings is then new code, and broken new code ends
here.

A worker is forked twice over, so that it becomes a child of the master (PR_SET_CHILD_SUBREAPER),
who waits for it as for any other.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pounce import ipc
from pounce.errors import EXIT_LOAD, EXIT_OK, LoadError
from pounce.supervisor import process
from pounce.titles import set_title

log = logging.getLogger("pounce")

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36

Load = Callable[[], object]
# Runs in the worker: what load() made, and the worker's seat; returns the exit status.
Run = Callable[[object, ipc.Seat], int]


def can_have_templates() -> bool:
    """Makes this process the parent of orphaned workers; False where the system cannot."""
    return sys.platform == "linux" and _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


class Template:
    """A generation's template as the master holds it.

    Args:
        load: imports the application; runs in the new process.
        run: runs in each worker.
        first: closes what is the master's alone; runs in the new process.

    Attributes:
        generation, pid: who it is.
        loaded: it has said so.
        channel: readable when it has said something, or is gone.
    """

    def __init__(
        self,
        generation: int,
        *,
        load: Load,
        run: Run,
        first: Callable[[], None],
    ) -> None:
        self.generation = generation
        self.loaded = False
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        master = os.getpid()

        def prepare() -> None:
            set_title("template", generation=generation)
            self.channel.close()
            first()
            # It has no loop that would see the end of file while it imports.
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != master:
                os._exit(EXIT_OK)

        try:
            self.pid = process.fork(
                lambda: _Nursery(channel=theirs, load=load, run=run).main(),
                first=prepare,
            )
        except OSError:
            self.channel.close()
            raise
        finally:
            theirs.close()

    def fork(self, worker: int, seat: ipc.Seat) -> None:
        """Asks for a worker, which gets duplicates of the seat's descriptors; answered by Hello.

        Raises:
            OSError: the template is gone, or does not listen.
        """
        order = ipc.Fork(worker, seat.slot, seat.generation, seat.record)
        descriptors = [seat.control, seat.trace, *seat.listeners]
        socket.send_fds(self.channel, [ipc.encode(order)], descriptors)

    def read(self) -> Iterator[ipc.FromTemplate]:
        """What it has said since the last time.

        Raises:
            EOFError: it is gone.
        """
        while True:
            try:
                data = self.channel.recv(ipc.LINE_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                raise EOFError
            try:
                message = ipc.decode(data)
            except ValueError as error:
                log.warning("template sent nonsense, ignoring it pid=%d: %s", self.pid, error)
                continue
            if isinstance(message, ipc.FromTemplate):
                yield message

    def close(self) -> None:
        """Lets it go: at the end of file it exits. Its workers stay."""
        self.channel.close()

    def kill(self) -> None:
        """For one that is still importing, and so does not hear."""
        process.send(self.pid, signal.SIGKILL)


@dataclass(slots=True, kw_only=True)
class _Nursery:
    """The template itself, from the inside."""

    channel: socket.socket
    load: Load
    run: Run

    def main(self) -> int:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # the master's; they may reach the whole group
        sockets = _sockets()
        try:
            loaded = self.load()
        except LoadError as error:
            self._say(ipc.failed(EXIT_LOAD, str(error), error.traceback))
            return EXIT_LOAD
        # What is there by now stays: no collection in a worker need touch, and so copy, its pages.
        gc.collect()
        gc.freeze()
        self._say(ipc.Loaded(_left_behind(sockets)))
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self.channel, ipc.LINE_LIMIT, ipc.DESCRIPTORS_LIMIT
                )
            except OSError:
                return EXIT_OK
            if not data:
                return EXIT_OK
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            order = ipc.decode(data)
            if isinstance(order, ipc.Fork):
                self._fork(loaded, order, descriptors)

    def _say(self, message: ipc.FromTemplate) -> None:
        with contextlib.suppress(OSError):  # the master is gone, which the next read tells
            self.channel.send(ipc.encode(message))

    def _fork(self, loaded: object, order: ipc.Fork, descriptors: Sequence[int]) -> None:
        control, trace, *listeners = descriptors
        seat = ipc.Seat(
            slot=order.slot,
            generation=order.generation,
            record=order.record,
            control=control,
            listeners=tuple(listeners),
            trace=trace,
        )

        def first() -> None:
            self.channel.close()
            set_title("worker", slot=order.slot, generation=order.generation)

        # The middle process is only there to die: the worker's parent is then the master. Where no
        # worker comes of it, the master sees its channel end without a word.
        try:
            middle = os.fork()
            if middle == 0:
                try:
                    process.fork(
                        lambda: self.run(loaded, seat), first=first, keep_exit_handlers=True
                    )
                except OSError as error:
                    log.error("fork failed slot=%d error=%s", order.slot, error)
                finally:
                    os._exit(EXIT_OK)
            os.waitpid(middle, 0)
        except OSError as error:
            log.error("fork failed slot=%d error=%s", order.slot, error)
        for descriptor in descriptors:
            os.close(descriptor)


def _sockets() -> set[str]:
    """The sockets this process holds, as the kernel names them."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/self/fd/{name}")
                if target.startswith("socket:"):
                    found.add(target)
    return found


def _left_behind(sockets_before: set[str]) -> str:
    """What the import has started that does not survive a fork; "" for nothing.

    A fork copies no other thread, but the locks that one held; and a socket that is shared by all
    workers mixes their traffic.
    """
    parts = []
    with contextlib.suppress(OSError):
        count = len(os.listdir("/proc/self/task")) - 1
        if count:
            # Not imported here: who has threads of Python's has the module as well.
            threading = sys.modules.get("threading")
            known = threading.enumerate()[1:] if threading else []
            names = ", ".join(thread.name for thread in known)
            parts.append(f"{count} threads ({names or 'not of Python'})")
    opened = _sockets() - sockets_before
    if opened:
        parts.append(f"{len(opened)} sockets")
    return " and ".join(parts)
