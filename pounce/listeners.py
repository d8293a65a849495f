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
import errno
import os
import socket
import sys
from collections.abc import Sequence
from typing import Final

from pounce.addresses import Address, FdAddress, TcpAddress, UnixAddress
from pounce.errors import BindError
from pounce.socket_file import SocketFile, bind_socket_file, ids_of

# Elsewhere the option exists but does not spread connections (BSD, macOS).
HAS_REUSEPORT: Final = sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")
FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
# A port that the kernel chose on 0.0.0.0 may be taken on [::]; choosing again helps.
PORT_0_TRIES: Final = 20


class Listeners:
    """The open listeners of one server, address by address."""

    def __init__(self, *, slots: int, backlog: int) -> None:
        self.slots = slots
        self.backlog = backlog
        self._rows: list[_Row] = []

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
    ) -> None:
        self.sockets = sockets
        self.family = sockets[0].family
        self.name = name
        self.file = file
        self.inherited = inherited

    def socket_of(self, slot: int) -> socket.socket:
        return self.sockets[slot if len(self.sockets) > 1 else 0]

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
) -> Listeners:
    """Bind all addresses, or none.

    Args:
        slots: 1 or more; how many sockets each TCP address gets.
        backlog: for every listen() of every process; a smaller one later would shrink the queue.
        uds_mode: permission bits of unix sockets.
        uds_owner: "user", "user:group" or ":group", names or numbers; "" leaves them.

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
                    for row in _bind_tcp(address, slots, ours=listeners.names):
                        listeners.add(row)
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


# TCP


def _bind_tcp(address: TcpAddress, slots: int, *, ours: Sequence[str]) -> list[_Row]:
    where = f"[{address.host}]" if ":" in address.host else address.host
    try:
        places = _places_of(address)
    except socket.gaierror as error:
        raise BindError(
            f"{where}:{address.port} cannot be bound: no address is known for "
            f"{address.host!r} ({error.strerror})"
        ) from None
    tries = PORT_0_TRIES if address.port == 0 and len(places) > 1 else 1
    while True:
        tries -= 1
        try:
            return _bind_places(places, address.port, slots)
        except OSError as error:
            if tries and error.errno == errno.EADDRINUSE:
                continue
            raise BindError(
                f"{where}:{address.port} cannot be bound: {_tcp_reason(address, error, ours)}",
                in_use=error.errno == errno.EADDRINUSE,
            ) from None


def _places_of(address: TcpAddress) -> list[tuple[socket.AddressFamily, str, int]]:
    """(family, numeric host, scope), IPv4 first; several for a name and for all interfaces."""
    if address.host in ("", "::"):  # what "::" means to most people and servers: everything
        places = [(socket.AF_INET, "0.0.0.0", 0)]
        return [*places, (socket.AF_INET6, "::", 0)] if socket.has_ipv6 else places
    found = socket.getaddrinfo(address.host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return sorted(
        {
            (family, str(name[0]), int(name[3]) if len(name) == 4 else 0)
            for family, _, _, _, name in found
        }
    )


def _bind_places(
    places: list[tuple[socket.AddressFamily, str, int]], port: int, slots: int
) -> list[_Row]:
    rows: list[_Row] = []
    missing: OSError | None = None
    try:
        for family, host, scope in places:
            try:
                row = _bind_place(family, host, scope, port, slots)
            except OSError as error:
                # "localhost" names ::1 also where IPv6 is switched off: one of them must do.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
            else:
                rows.append(row)
                port = row.sockets[0].getsockname()[1]
        if missing and not rows:
            raise missing
    except BaseException:
        for row in rows:
            row.close()
        raise
    return rows


def _bind_place(family: socket.AddressFamily, host: str, scope: int, port: int, slots: int) -> _Row:
    sockets: list[socket.socket] = []
    target = (host, port, 0, scope) if family == socket.AF_INET6 else (host, port)
    try:
        for _ in range(slots if HAS_REUSEPORT else 1):
            one = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(one)
            if family == socket.AF_INET6:
                # One family each: no peer ever looks like ::ffff:192.0.2.1.
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if len(sockets) == 1:
                _claim(one, target)
                target = one.getsockname()
            else:
                _join(one, target)
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return _Row(sockets, name=_shown(sockets[0].getsockname()))


def _claim(first: socket.socket, target: tuple[object, ...]) -> None:
    """Bind for ourselves alone, then open the port for our other slots.

    SO_REUSEPORT from the start would let a second server of the same user join in silence and
    take half of the traffic. Bound without it, one of two servers gets EADDRINUSE, also when
    they start at the same moment. (Linux looks at the flags of both sockets at each bind.)
    """
    try:
        first.bind(target)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        # Perhaps only connections of a server before us are in the way (TIME_WAIT and others);
        # SO_REUSEADDR passes over those, not over a listener. A server which is bound and does
        # not listen yet stops us as well, because it does not carry the option: neither must we.
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(target)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    if HAS_REUSEPORT:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _join(other: socket.socket, target: tuple[object, ...]) -> None:
    """Bind the socket of a further slot to the port that _claim() took."""
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Old connections of a worker with other rights have another owner: SO_REUSEPORT alone would
    # not pass over them.
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(target)


def _tcp_reason(address: TcpAddress, error: OSError, ours: Sequence[str]) -> str:
    match error.errno:
        case errno.EADDRINUSE if any(name.endswith(f":{address.port}") for name in ours):
            return "we have it already (is the address given twice?)"
        case errno.EADDRINUSE:
            return f"{_holder_of(address.port)}; stop it, or choose another port"
        case errno.EACCES | errno.EPERM:
            return (
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose one from 1024 on, "
                "or let systemd open it (fd://3)"
            )
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {address.host}; 0.0.0.0 and [::] always exist"
        case errno.EAFNOSUPPORT:
            return "this machine has no IPv6"
    return f"{error.strerror}"


def _holder_of(port: int) -> str:
    """Who has the port, as far as we may see it: the one to stop, not one of its workers."""
    import psutil  # here: megabytes that no process needs while all is well

    def listens(process: psutil.Process) -> bool:
        sockets = getattr(process, "net_connections", None) or process.connections  # before 6.0
        return any(one.laddr and one.laddr.port == port and not one.raddr for one in sockets("tcp"))

    with contextlib.suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            if one.laddr and one.laddr.port == port and one.pid and not one.raddr:
                holder = psutil.Process(one.pid)
                with contextlib.suppress(psutil.Error):
                    while (parent := holder.parent()) is not None and listens(parent):
                        holder = parent
                return f"{holder.name()} (pid {holder.pid}) has it"
    return "another process has it"


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
    name = f"unix:{os.fsdecode(bound)}" if one.family == socket.AF_UNIX else _shown(bound)
    return _Row([one], name=name, inherited=True)


def _no_use(fd: int, reason: str) -> BindError:
    return BindError(
        f"fd://{fd} cannot be used: {reason}; it must be an open, bound stream socket "
        "(the first that systemd passes is fd://3)"
    )


def _shown(bound: tuple[str, int]) -> str:
    host, port = bound[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
