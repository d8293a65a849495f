"""The control socket that `pounce ctl` speaks to, inside the master's loop. Never blocks.

Bounded in everything: clients, the length of a request, and one answer for each client that does
not read. What is asked and answered is desk.py's.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import struct
import time
from collections.abc import Iterable
from typing import Final

from pounce.control_path import ControlSocket
from pounce.supervisor.control_requests import LINE_LIMIT, RequestError, Status, parse, refusal
from pounce.supervisor.desk import Desk

log = logging.getLogger("pounce")

CLIENTS_MOST: Final = 16
CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


class _Client:
    """One connection: what came in and is no whole line yet, what could not be sent yet."""

    def __init__(self, number: int, one: socket.socket, now: float) -> None:
        self.number = number
        self.socket = one
        self.heard_at = now
        self.inbox = b""
        self.outbox = b""
        self.gone = False


class Control:
    """Listens from the beginning to close().

    Args:
        desk: answers.
        selector: the master's; its data are callables.
    """

    def __init__(self, one: ControlSocket, desk: Desk, selector: selectors.BaseSelector) -> None:
        self._listener = one
        self._desk = desk
        self._selector = selector
        self._clients: dict[int, _Client] = {}
        self._last = 0
        one.socket.setblocking(False)
        selector.register(one.socket, selectors.EVENT_READ, self._on_connect)

    def outcome(self, generation: int, why: str) -> None:
        """A reload is over: tell who waits."""
        self._answer(self._desk.outcome(generation, why, time.monotonic()))

    def stops(self) -> None:
        """The server has begun to stop: tell who waits for anything else."""
        if self._desk.waiting:
            self._answer(self._desk.stops())

    def close(self) -> None:
        """The end; whoever is connected sees it."""
        self.stops()
        for client in list(self._clients.values()):
            self._drop(client)
        with contextlib.suppress(KeyError, ValueError):  # it has failed before, or this is twice
            self._selector.unregister(self._listener.socket)
        self._listener.socket.close()
        self._listener.file.remove()

    def abandon(self) -> None:
        """In a forked child: it is not ours. The selector is the master's too, and stays as is."""
        for client in self._clients.values():
            client.socket.close()
        self._listener.socket.close()

    # What comes in

    def _on_connect(self) -> None:
        try:
            one, _ = self._listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # It would be readable for ever. Signals can do all that is needed.
            log.error("control socket fails, closing it error=%s", error)
            self._selector.unregister(self._listener.socket)
            return
        one.setblocking(False)
        if not self._make_room():
            with contextlib.suppress(OSError):
                one.send(refusal(f"{CLIENTS_MOST} clients are connected, and all of them wait"))
            one.close()
            return
        self._last += 1
        client = _Client(self._last, one, time.monotonic())
        self._clients[client.number] = client
        self._selector.register(one, selectors.EVENT_READ, lambda: self._on_ready(client))

    def _make_room(self) -> bool:
        """Drop somebody where there are too many: who does not read, else who is idle longest."""
        if len(self._clients) < CLIENTS_MOST:
            return True
        waiting = self._desk.waiting
        idle = [one for one in self._clients.values() if one.number not in waiting]
        if not idle:
            return False
        self._drop(min(idle, key=lambda one: (not one.outbox, one.heard_at)))
        return True

    def _on_ready(self, client: _Client) -> None:
        if client.gone:  # dropped by what was ready before it
            return
        try:
            self._flush(client)
            data = client.socket.recv(LINE_LIMIT)
        except BlockingIOError:
            data = None
        except OSError:  # reset
            data = b""
        if data == b"":
            self._drop(client)
            return
        if data:
            client.heard_at = time.monotonic()
            client.inbox += data
        self._work(client)

    def _work(self, client: _Client) -> None:
        """Answer what has come, one after the other: the next only when the last was taken."""
        while not client.gone and not client.outbox and client.number not in self._desk.waiting:
            line, end, rest = client.inbox.partition(b"\n")
            if len(line) > LINE_LIMIT:
                self._send(client, refusal(f"a request has up to {LINE_LIMIT} bytes"))
                self._drop(client)
                return
            if not end:
                return
            client.inbox = rest
            self._take(client, line)
        if len(client.inbox) > LINE_LIMIT:  # it asks on and on, and takes no answer
            self._drop(client)

    def _take(self, client: _Client, line: bytes) -> None:
        try:
            request = parse(line)
        except RequestError as error:
            self._send(client, refusal(str(error)))
            return
        if not isinstance(request, Status):
            log.info(
                "control socket says %s%s", str(request).partition("(")[0].lower(), _who(client)
            )
        if answer := self._desk.take(client.number, request, time.monotonic()):
            self._send(client, answer)

    # What goes out

    def _answer(self, answers: Iterable[tuple[int, bytes]]) -> None:
        for number, line in answers:
            client = self._clients[number]
            self._send(client, line)
            self._work(client)

    def _send(self, client: _Client, data: bytes) -> None:
        client.outbox += data
        try:
            self._flush(client)
        except OSError:
            self._drop(client)

    def _flush(self, client: _Client) -> None:
        if not client.outbox:
            return
        with contextlib.suppress(BlockingIOError):
            sent = client.socket.send(client.outbox)
            client.outbox = client.outbox[sent:]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outbox else 0)
        key = self._selector.get_key(client.socket)
        if key.events != wanted:
            self._selector.modify(client.socket, wanted, key.data)

    def _drop(self, client: _Client) -> None:
        if client.gone:
            return
        client.gone = True
        self._desk.forget(client.number)
        del self._clients[client.number]
        self._selector.unregister(client.socket)
        client.socket.close()


def _who(client: _Client) -> str:
    """Process and user at the other end, for the log."""
    with contextlib.suppress(AttributeError, OSError):  # Linux only
        level, option = socket.SOL_SOCKET, socket.SO_PEERCRED
        pid, uid, _ = CREDENTIALS.unpack(client.socket.getsockopt(level, option, CREDENTIALS.size))
        return f" pid={pid} uid={uid}"
    return ""
