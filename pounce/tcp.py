"""TCP addresses to bound sockets that share a port. Knows bind rules, not who will listen."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Sequence
from typing import Final

from pounce.addresses import TcpAddress
from pounce.errors import BindError

# Elsewhere the option exists but does not spread connections (BSD, macOS).
HAS_REUSEPORT: Final = sys.platform == "linux" and hasattr(socket, "SO_REUSEPORT")
# A port that the kernel chose on 0.0.0.0 may be taken on [::]; choosing again helps.
PORT_0_TRIES: Final = 20
ADVICE: Final = "stop it, or choose another port"


def bind_tcp(address: TcpAddress, count: int, *, ours: Sequence[str]) -> list[list[socket.socket]]:
    """For each place that an address stands for, `count` sockets that share its port.

    Args:
        ours: the names of what we have bound already, for the error.

    Raises:
        BindError: in one line, what and why. Nothing stays open.
    """
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
            return _bind_places(places, address.port, count)
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


def names_of(address: TcpAddress) -> list[str]:
    """What its sockets would be called, as shown() does; none where its host is not known."""
    try:
        return [shown((host, address.port)) for _, host, _ in _places_of(address)]
    except socket.gaierror:
        return []


def _bind_places(
    places: list[tuple[socket.AddressFamily, str, int]], port: int, count: int
) -> list[list[socket.socket]]:
    rows: list[list[socket.socket]] = []
    missing: OSError | None = None
    try:
        for family, host, scope in places:
            try:
                row = _bind_place(family, host, scope, port, count)
            except OSError as error:
                # "localhost" names ::1 also where IPv6 is switched off: one of them must do.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error
            else:
                rows.append(row)
                port = row[0].getsockname()[1]
        if missing and not rows:
            raise missing
    except BaseException:
        for row in rows:
            for one in row:
                one.close()
        raise
    return rows


def _bind_place(
    family: socket.AddressFamily, host: str, scope: int, port: int, count: int
) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    target = (host, port, 0, scope) if family == socket.AF_INET6 else (host, port)
    try:
        for _ in range(count):
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
    return sockets


def join_tcp(member: socket.socket) -> socket.socket:
    """One more socket for the port of `member`, bound and not listening.

    Raises:
        OSError: it cannot be bound; the text says why.
    """
    target = member.getsockname()
    other = socket.socket(member.family, socket.SOCK_STREAM)
    try:
        if member.family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _join(other, target)
    except OSError as error:
        other.close()
        reason = error.strerror
        if error.errno == errno.EACCES:
            reason = (
                "ports below 1024 need root or CAP_NET_BIND_SERVICE, also for one more slot; "
                "without them the number of slots can only be chosen at the start"
            )
        raise OSError(f"{shown(target)} cannot be bound once more: {reason}") from None
    except BaseException:
        other.close()
        raise
    return other


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
            return _holder_of(address.port)
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
    """Who has the port, as far as we may see it, and what to do about it.

    The one to stop, not one of its workers; those of a master that was killed end by themselves.
    """
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
                who = f"{holder.name()} (pid {holder.pid}) has it"
                if holder.name() in ("pounce-worker", "pounce-template"):
                    return (
                        f"{who}; its master is gone, so it ends within 2 seconds: start again then"
                    )
                return f"{who}; {ADVICE}"
    return f"another process has it; {ADVICE}"


def shown(bound: tuple[str, int]) -> str:
    host, port = bound[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def queue_depth(listener: socket.socket) -> int:
    """Connections that wait in the queue of a TCP listener; 0 where the kernel does not say."""
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    except OSError:
        return 0
    return int.from_bytes(info[24:28], "little") if len(info) >= 28 else 0
