"""Addresses as text to listening sockets. Knows bind rules and permissions, not who will accept.

Every TCP address gets one SO_REUSEPORT socket per slot, which the master keeps for life: the
queue of a dead worker waits for its successor. Unix sockets, inherited descriptors and systems
without balancing SO_REUSEPORT get one socket that all slots share.

Binding happens at once, so that a taken port shows before anything is imported. TCP listens only
when listen() is called for a slot (its first worker is ready): until then clients are refused,
not left waiting for a server that may never start. A unix socket listens from the beginning,
since that is the only way another start can tell it from a stale file.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Final

from pounce.addresses import Address, FdAddress, TcpAddress, UnixAddress
from pounce.errors import BindError
from pounce.socket_file import SocketFile, bind_socket_file, ids_of
from pounce.tcp import HAS_REUSEPORT, bind_tcp, join_tcp, queue_depth, shown

FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class Listeners:
    """The open listeners of one server, address by address."""

    def __init__(self, *, slots: int, backlog: int) -> None:
        self.slots = slots
        self.backlog = backlog
        self._rows: list[_Row] = []
        self._order: list[int] = []  # of the slots in the kernel's groups

    @property
    def names(self) -> tuple[str, ...]:
        """What is really bound, as a user writes it: "127.0.0.1:8000", "unix:/run/app.sock"."""
        return tuple(row.name for row in self._rows)

    def for_slot(self, slot: int) -> tuple[int, ...]:
        """The descriptors a worker of `slot` accepts from, in the order of `names`."""
        return tuple(row.socket_of(slot).fileno() for row in self._rows)

    def listen(self, slot: int) -> None:
        """Let clients of the slot's sockets in; they queue until a worker accepts.

        Again for the next worker of the slot is harmless: the kernel keeps the queue.
        """
        for row in self._rows:
            one = row.socket_of(slot)
            if row.family != socket.AF_UNIX:
                # Only now, and not at bind: see _claim(). What is accepted inherits it, so that
                # connections which outlive us do not keep the next start from binding.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.listen(self.backlog)
        if slot not in self._order:
            self._order.append(slot)

    def add_slot(self) -> None:
        """Bind the sockets of one more slot; nobody can connect to them before listen().

        Raises:
            OSError: they cannot be bound; nothing has changed.
        """
        with contextlib.ExitStack() as unless_all:
            added = [
                (row, unless_all.enter_context(join_tcp(row.sockets[0])))
                for row in self._rows
                if row.per_slot
            ]
            unless_all.pop_all()
        for row, one in added:
            row.sockets.append(one)
        self.slots += 1

    def close_slot(self) -> None:
        """Close the sockets of the last slot: who waits in their queues is lost."""
        self.slots -= 1
        for row in self._rows:
            if row.per_slot:
                row.sockets.pop().close()
        if self.slots in self._order:
            # The kernel moves the last member of the group into the hole.
            at = self._order.index(self.slots)
            self._order[at] = self._order[-1]
            self._order.pop()

    @property
    def groups(self) -> list[socket.socket]:
        """A member of each group of sockets that the kernel chooses among."""
        return [row.sockets[0] for row in self._rows if row.per_slot]

    def places(self, out: frozenset[int]) -> list[int]:
        """The places in each group of all slots but those that are `out`."""
        return [place for place, slot in enumerate(self._order) if slot not in out]

    def waiting(self, slot: int) -> int:
        """How many connections wait in the queues that are this slot's alone."""
        return sum(queue_depth(row.socket_of(slot)) for row in self._rows if row.per_slot)

    def keep_only(self, slot: int) -> None:
        """In a forked worker: close what belongs to other slots."""
        for row in self._rows:
            row.keep_only(slot)

    def abandon(self) -> None:
        """In a forked child that serves nobody: close it all, and leave the server as it is."""
        for row in self._rows:
            row.close()
        self._rows.clear()

    def close(self) -> None:
        """End the server's listening: nobody can connect any more, our socket files are gone.

        Twice is harmless.
        """
        for row in self._rows:
            row.end()
        self.abandon()

    def add(self, row: _Row) -> None:
        self._rows.append(row)


class _Row:
    """The sockets of one bound address: one for each slot, or one for all."""

    def __init__(
        self,
        sockets: list[socket.socket],
        *,
        name: str,
        file: SocketFile | None = None,
        inherited: bool = False,
        per_slot: bool = False,
    ) -> None:
        self.sockets = sockets
        self.family = sockets[0].family
        self.name = name
        self.file = file
        self.inherited = inherited
        self.per_slot = per_slot

    def socket_of(self, slot: int) -> socket.socket:
        return self.sockets[slot if self.per_slot else 0]

    def keep_only(self, slot: int) -> None:
        kept = self.socket_of(slot)
        for one in self.sockets:
            if one is not kept:
                one.close()

    def end(self) -> None:
        if self.file:
            self.file.remove()
        if not self.inherited:
            for one in self.sockets:
                # A process that the application started may hold a copy, in which clients would
                # queue for ever: close() alone is not the end of a listener.
                with contextlib.suppress(OSError):  # not listening yet
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def open_listeners(
    addresses: Sequence[Address],
    *,
    slots: int,
    backlog: int,
    uds_mode: int = 0o660,
    uds_owner: str = "",
    uds_owner_origin: str = "uds_owner",
    shared: bool = False,
) -> Listeners:
    """Bind all addresses, or none.

    Args:
        slots: 1 or more; how many sockets each TCP address gets.
        backlog: for every listen() of every process; a smaller one later would shrink the queue.
        uds_mode: permission bits of unix sockets.
        uds_owner: "user", "user:group" or ":group", names or numbers; "" leaves them.
        shared: one socket for all slots, also where each could have its own.

    Raises:
        BindError: in one line, which address and why. Nothing stays open.
        ConfigError: `uds_owner` is not known here.
    """
    listeners = Listeners(slots=slots, backlog=backlog)
    owner = ids_of(uds_owner, origin=uds_owner_origin)
    try:
        for address in addresses:
            match address:
                case TcpAddress():
                    own = HAS_REUSEPORT and not shared
                    for sockets in bind_tcp(address, slots if own else 1, ours=listeners.names):
                        name = shown(sockets[0].getsockname())
                        listeners.add(_Row(sockets, name=name, per_slot=own))
                case UnixAddress(path):
                    path = os.path.abspath(path)
                    one, file = bind_socket_file(path, mode=uds_mode, owner=owner)
                    listeners.add(_Row([one], name=f"unix:{path}", file=file))
                    one.listen(backlog)
                case FdAddress(fd):
                    listeners.add(_inherit(fd))
    except BaseException:
        listeners.close()
        raise
    return listeners


# inherited


def _inherit(fd: int) -> _Row:
    """Take over an open socket: bound, of any family that streams, listening or not."""
    try:
        one = socket.socket(fileno=fd)
    except OSError as error:
        raise _no_use(fd, f"{error.strerror}") from None
    bound = one.getsockname()
    if one.type != socket.SOCK_STREAM or one.family not in FAMILIES:
        one.detach()
        raise _no_use(fd, "not a stream socket of TCP or unix")
    os.set_inheritable(fd, False)
    name = f"unix:{os.fsdecode(bound)}" if one.family == socket.AF_UNIX else shown(bound)
    return _Row([one], name=name, inherited=True)


def _no_use(fd: int, reason: str) -> BindError:
    return BindError(
        f"fd://{fd} cannot be used: {reason}; it must be an open, bound stream socket "
        "(the first that systemd passes is fd://3)"
    )
