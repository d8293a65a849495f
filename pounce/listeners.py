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
from pounce.inheritance import Bequest, Estate
from pounce.socket_file import SocketFile, bind_socket_file, ids_of
from pounce.tcp import HAS_REUSEPORT, bind_tcp, join_tcp, queue_depth, shown

FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class Listeners:
    """The open listeners of one server, address by address."""

    def __init__(self, *, slots: int, backlog: int) -> None:
        self.slots = slots
        self.backlog = backlog
        self._rows: list[_Row] = []
        self._unwanted: list[_Row] = []  # of the master before us, until we take over

    @property
    def redirecting(self) -> tuple[int, ...]:
        """The places in `names` of what open_listeners() was given as redirecting."""
        return tuple(at for at, row in enumerate(self._rows) if row.redirecting)

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
            row.joined(slot)

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
                row.left(self.slots)

    @property
    def has_groups(self) -> bool:
        """The kernel chooses among several sockets somewhere."""
        return any(row.per_slot for row in self._rows)

    @property
    def groups(self) -> list[tuple[socket.socket, dict[int, int]]]:
        """A member of each group that the kernel chooses among, and the place in it of each slot
        that listens.
        """
        return [
            (row.sockets[0], {slot: at for at, slot in enumerate(row.order)})
            for row in self._rows
            if row.per_slot
        ]

    def waiting(self, slot: int) -> int:
        """How many connections wait in the queues that are this slot's alone."""
        return sum(queue_depth(row.socket_of(slot)) for row in self._rows if row.per_slot)

    def give_to(self, uid: int, gid: int) -> None:
        """Make another user the owner, who is to bind further slots: on Linux it must be one user
        that binds and listens to share a port.
        """
        for row in self._rows:
            for one in row.sockets:
                os.fchown(one.fileno(), uid, gid)

    def bequest(self) -> tuple[Bequest, ...]:
        """What another master needs to know to serve on."""
        return tuple(row.bequest() for row in self._rows)

    def lend(self) -> None:
        """Another master serves on them: our end is not theirs any more."""
        for row in self._rows:
            row.lent = True

    def take_over(self) -> None:
        """The master before us retires: what is left to end is ours to end."""
        for row in self._rows:
            row.lent = False
        for row in self._unwanted:
            if row.file:
                row.file.remove()
            row.close()  # for good once the old master lets go of it too
        self._unwanted.clear()

    def keep_only(self, slot: int) -> None:
        """In a forked worker: close what belongs to other slots."""
        for row in self._rows:
            row.keep_only(slot)
        for row in self._unwanted:
            row.close()

    def abandon(self) -> None:
        """In a forked child that serves nobody: close it all, and leave the server as it is."""
        for row in [*self._rows, *self._unwanted]:
            row.close()
        self._rows.clear()
        self._unwanted.clear()

    def close(self) -> None:
        """End the server's listening: nobody can connect any more, our socket files are gone.

        Twice is harmless, and so it is to what another master has a part in.
        """
        for row in self._rows:
            if not row.lent:
                row.end()
        self.abandon()

    def add(self, row: _Row) -> None:
        self._rows.append(row)

    def redirect_from(self, place: int) -> None:
        """What was added from that place on only redirects."""
        for row in self._rows[place:]:
            row.redirecting = True

    def add_inherited(self, row: _Row) -> None:
        """Also sockets for the slots that the master before us did not have.

        Raises:
            BindError: they cannot be bound.
        """
        self._rows.append(row)
        while row.per_slot and len(row.sockets) < self.slots:
            try:
                row.sockets.append(join_tcp(row.sockets[0]))
            except OSError as error:
                raise BindError(str(error)) from None

    def add_unwanted(self, row: _Row) -> None:
        self._unwanted.append(row)


class _Row:
    """The sockets of one bound address: one for each slot, or one for all."""

    def __init__(
        self,
        sockets: list[socket.socket],
        *,
        name: str,
        file: SocketFile | None = None,
        passed: bool = False,
        per_slot: bool = False,
    ) -> None:
        self.sockets = sockets
        self.family = sockets[0].family
        self.name = name
        self.file = file
        self.passed = passed  # open before pounce was: others may serve it too
        self.per_slot = per_slot
        self.lent = False  # a master beside us serves it
        self.redirecting = False  # see open_listeners()
        self.order: list[int] = []  # of the slots in the kernel's group

    @classmethod
    def inherited(cls, one: Bequest, *, shared: bool) -> _Row:
        """Takes over a row of another master, whose end it still is."""
        sockets = [socket.socket(fileno=descriptor) for descriptor in one.sockets]
        file = None
        if one.file:
            file = SocketFile(one.name.removeprefix("unix:"), (one.file[0], one.file[1]))
        is_tcp = sockets[0].family != socket.AF_UNIX and not one.passed
        per_slot = is_tcp and HAS_REUSEPORT and (len(sockets) > 1 or not shared)
        row = cls(sockets, name=one.name, file=file, passed=one.passed, per_slot=per_slot)
        row.lent = True
        row.order = list(one.order)
        return row

    def bequest(self) -> Bequest:
        return Bequest(
            name=self.name,
            sockets=tuple(one.fileno() for one in self.sockets),
            per_slot=self.per_slot,
            order=tuple(self.order),
            file=self.file.identity if self.file else (),
            passed=self.passed,
        )

    def joined(self, slot: int) -> None:
        at = slot if self.per_slot else 0
        if at not in self.order:  # a second listen() moves nobody
            self.order.append(at)

    def left(self, slot: int) -> None:
        if slot in self.order:
            # The kernel moves the last member of the group into the hole.
            at = self.order.index(slot)
            self.order[at] = self.order[-1]
            self.order.pop()

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
        if not self.passed:
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
    inherited: Sequence[Bequest] = (),
    redirecting: Sequence[Address] = (),
) -> Listeners:
    """Bind all addresses, or none.

    Args:
        slots: 1 or more; how many sockets each TCP address gets.
        backlog: for every listen() of every process; a smaller one later would shrink the queue.
        uds_mode: permission bits of unix sockets.
        uds_owner: "user", "user:group" or ":group", names or numbers; "" leaves them.
        shared: one socket for all slots, also where each could have its own.
        inherited: what another master has bound; where an address is among it, that is taken.
            There are then as many slots as it had, if those are more, since none of its queues
            may be left alone.
        redirecting: more addresses, whose clients will not be served but sent elsewhere.

    Raises:
        BindError: in one line, which address and why. Nothing stays open.
        ConfigError: `uds_owner` is not known here.
    """
    estate = Estate(inherited)
    served = len(addresses)
    addresses = [*addresses, *redirecting]
    claimed = [estate.claim(address) for address in addresses]
    slots = max([slots, *(len(one.sockets) for rows in claimed for one in rows)])
    listeners = Listeners(slots=slots, backlog=backlog)
    owner = ids_of(uds_owner, origin=uds_owner_origin)
    try:
        for one in estate.left:
            listeners.add_unwanted(_Row.inherited(one, shared=shared))
        for at, (address, rows) in enumerate(zip(addresses, claimed, strict=True)):
            before = len(listeners.names)
            for one in rows:
                listeners.add_inherited(_Row.inherited(one, shared=shared))
            match address:
                case _ if rows:
                    pass
                case TcpAddress():
                    own = HAS_REUSEPORT and not shared
                    for sockets in bind_tcp(address, slots if own else 1, ours=listeners.names):
                        name = shown(sockets[0].getsockname())
                        listeners.add(_Row(sockets, name=name, per_slot=own))
                case UnixAddress(path):
                    path = os.path.abspath(path)
                    bound, file = bind_socket_file(path, mode=uds_mode, owner=owner)
                    listeners.add(_Row([bound], name=f"unix:{path}", file=file))
                    bound.listen(backlog)
                case FdAddress(fd):
                    listeners.add(_open_already(fd))
            if at >= served:
                listeners.redirect_from(before)
    except BaseException:
        listeners.close()
        raise
    return listeners


def _open_already(fd: int) -> _Row:
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
    return _Row([one], name=name, passed=True)


def _no_use(fd: int, reason: str) -> BindError:
    return BindError(
        f"fd://{fd} cannot be used: {reason}; it must be an open, bound stream socket "
        "(the first that systemd passes is fd://3)"
    )
