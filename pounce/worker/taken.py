"""What the peer has taken of what it was sent, as far as the kernel tells. Knows no deadlines."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
from typing import Final

# Where struct tcp_info has tcpi_bytes_acked, 64 bits wide (since Linux 4.1; other systems lay their
# struct out in other ways).
BYTES_ACKED: Final = slice(120, 128)
# A transport that closes has a socket without descriptor, which each loop says in its own way.
NO_ANSWER: Final = (OSError, ValueError, AttributeError)


def untaken(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has of us and the peer has not. 0 where this cannot be known.

    They get fewer with all that a slow peer reads; the kernel asks us for more only once a good
    part of its own buffer, megabytes perhaps, is free again.
    """
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        found = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    except NO_ANSWER:
        return 0
    return int.from_bytes(found, sys.byteorder)


def progress(transport: asyncio.Transport, held: int) -> object:
    """A value that changes when the peer has taken some more.

    Over TCP that is the count of what it acknowledged: more being written does not change it, and
    it grows too where as much is written as is read. Where nobody counts (a unix socket, another
    system), anything that changes in what is under way must do; a reader that stopped is noticed
    there only once the application waits for it.

    Args:
        held: bytes that the kernel was not given yet, or has been given; what moves with reading.
    """
    if sys.platform == "linux":
        try:
            sock = transport.get_extra_info("socket")
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_ACKED.stop)
        except NO_ANSWER:
            pass
        else:
            # 0 is also what a kernel says that fills in only a part of the struct.
            if acked := int.from_bytes(info[BYTES_ACKED], sys.byteorder):
                return acked
    return held, untaken(transport)
