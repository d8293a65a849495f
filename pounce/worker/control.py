"""The worker's end of the control channel: messages from the master in, messages to it out."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence

from pounce import ipc

log = logging.getLogger("pounce")


class Control:
    """Speaks to the master without ever waiting for it.

    Args:
        descriptor: the worker's end, a stream socket; it is this object's from now on.
        heard: called with each message from the master, once listening, and the descriptors that
            came with it, which are the caller's then.
        master_gone: called once at end of file: the master has died.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        heard: Callable[[ipc.Message, Sequence[int]], None],
        master_gone: Callable[[], None],
    ) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._heard = heard
        self._master_gone = master_gone
        self._reader = ipc.LineReader()
        self._unsent = b""
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on messages are heard, from `loop`."""
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._readable)

    def say(self, message: ipc.ToMaster) -> None:
        """Sends now, or when the master has read what came before. A dead master is ignored."""
        if self._unsent and isinstance(message, ipc.Heartbeat):
            return  # the master is behind; the next one says more
        self._unsent += ipc.encode(message)
        self._send()

    def say_last(self, message: ipc.ToMaster) -> None:
        """Sends even if the master must be waited for a moment; the process ends after this."""
        self._unsent += ipc.encode(message)
        self._socket.settimeout(1.0)
        self._send()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except (BlockingIOError, TimeoutError):
            if self._loop is not None:
                self._loop.add_writer(self._socket.fileno(), self._send)
            return
        except OSError:
            self._unsent = b""
        if self._loop is not None:
            self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 65536, ipc.DESCRIPTORS_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if not data:
            assert self._loop is not None
            self._loop.remove_reader(self._socket.fileno())
            self._master_gone()
            return
        for line in self._reader.feed(data):
            try:
                message = ipc.decode(line)
            except ValueError as error:
                log.warning("message from the master ignored: %s", error)
                continue
            # Those that came with several messages belong to the one that needs some.
            taken = isinstance(message, ipc.Adopt)
            self._heard(message, descriptors if taken else ())
            if taken:
                descriptors = []
