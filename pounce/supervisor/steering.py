"""Which of the listeners that share a port the kernel gives new connections to: classic BPF on a
SO_REUSEPORT group. Linux only; works unprivileged.

Without a program the kernel spreads by a hash over all members. A program is attached only while a
member is out (its worker is stalled, or it is to be closed), and detached once all are in again,
since a member that joins later would not be chosen by it.

Source: socket(7), SO_ATTACH_REUSEPORT_CBPF; linux/filter.h and linux/bpf_common.h.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final

WORKS: Final = sys.platform == "linux"
SO_ATTACH_REUSEPORT_CBPF: Final = 51
SO_DETACH_REUSEPORT_BPF: Final = 68

# Operation codes: load a word at an absolute offset; modulo a constant; jump if at least; return.
LOAD: Final = 0x20
MODULO: Final = 0x94
JUMP_AT_LEAST: Final = 0x35
RETURN: Final = 0x06
# An ancillary "offset" that loads a random number (SKF_AD_OFF + SKF_AD_RANDOM).
RANDOM: Final = 0xFFFFF000 + 56
LONGEST: Final = 4096  # instructions the kernel takes (BPF_MAXINSNS)

Instruction = tuple[int, int, int, int]


def choose_among(places: Sequence[tuple[int, int]]) -> list[Instruction]:
    """A program that returns places of the group, each as often as its weight says.

    Args:
        places: (place, weight) pairs; places in the order in which members began to listen, weights
            1 or more.

    Raises:
        ValueError: none, or more than a program can name.
    """
    if not places or 2 * len(places) + 2 > LONGEST:
        raise ValueError(f"{len(places)} members cannot be chosen among")
    total = sum(weight for _, weight in places)
    program: list[Instruction] = [(LOAD, 0, 0, RANDOM), (MODULO, 0, 0, total)]
    reached = 0
    for place, weight in places[:-1]:
        reached += weight
        program.append((JUMP_AT_LEAST, 1, 0, reached))
        program.append((RETURN, 0, 0, place))
    program.append((RETURN, 0, 0, places[-1][0]))
    return program


def encode(program: Sequence[Instruction]) -> bytes:
    """The instructions as the kernel reads them (struct sock_filter)."""
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def attach(member: socket.socket, program: Sequence[Instruction]) -> None:
    """Lets `program` choose for the whole group of `member`.

    Raises:
        OSError: not a SO_REUSEPORT socket, or a kernel without the option.
    """
    code = ctypes.create_string_buffer(encode(program))
    option = struct.pack("@HP", len(program), ctypes.addressof(code))  # struct sock_fprog
    member.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, option)


def steer(member: socket.socket, places: Sequence[tuple[int, int]]) -> None:
    """Lets the kernel choose among these places of the group of `member`, by their weights; none:
    among all, by its hash.

    Raises:
        OSError, ValueError: see attach() and choose_among().
    """
    if places:
        attach(member, choose_among(places))
    else:
        detach(member)


def detach(member: socket.socket) -> None:
    """Back to the kernel's hash over all members. Harmless when nothing is attached."""
    try:
        member.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)
    except OSError:
        return
