"""Listening sockets that share a port: which of them does the kernel give a connection to?"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import pytest

PATIENCE: Final = 30.0  # seconds; only a failing test waits so long

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="a queue for each slot is Linux")


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
FAMILIES: Final = [
    pytest.param("127.0.0.1", id="IPv4"),
    pytest.param("::1", id="IPv6", marks=needs_ipv6),
]


def takers(members: Mapping[int, int], count: int) -> Counter[int]:
    """How many of `count` connections each member gets.

    Args:
        members: descriptor of a listening socket by the member's number; all of one address.
    """
    (first, *_) = members.values()
    got: Counter[int] = Counter()
    with socket.socket(fileno=os.dup(first)) as one, selectors.DefaultSelector() as selector:
        family, target = one.family, one.getsockname()
        for number, descriptor in members.items():
            selector.register(descriptor, selectors.EVENT_READ, number)
        for _ in range(count):
            with socket.socket(family) as client:
                client.settimeout(PATIENCE)
                client.connect(target)
                ready = selector.select(PATIENCE)
                assert len(ready) == 1, "somebody has it"
                got[ready[0][0].data] += 1
                _accept(ready[0][0].fd)
    return got


def _accept(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        listener.accept()[0].close()


def group_of(host: str, count: int) -> list[socket.socket]:
    """So many listeners on one free port, in the order in which they began to listen."""
    members: list[socket.socket] = []
    target: Sequence[object] = (host, 0)
    for _ in range(count):
        member = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        member.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        member.bind(tuple(target))
        target = member.getsockname()
        member.listen(64)
        members.append(member)
    return members
