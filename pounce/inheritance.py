"""What one master hands to the next at an upgrade: open listeners, as numbers in a variable.

The descriptors themselves pass through fork and exec under the same numbers. Knows which of them
an address means, not what becomes of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from pounce.addresses import Address, FdAddress, TcpAddress, UnixAddress
from pounce.errors import UsageError
from pounce.tcp import names_of

VARIABLE: Final = "POUNCE_INHERIT"
VERSION: Final = 1  # of the form below; the next pounce may have another one

# Said on the channel: the new master by the first, the old one by the second that it retires.
SERVING: Final = b"?"
YOURS: Final = b"!"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bequest:
    """The sockets of one bound address.

    Attributes:
        name: as Listeners.names has it.
        sockets: descriptors, by slot where `per_slot`, else one for all.
        order: the places in the kernel's group: those that listen, in the order they began to.
        file: device and inode of the socket file; empty where there is none.
        passed: it was given to us open (fd://N), so others may have it too.
    """

    name: str
    sockets: tuple[int, ...]
    per_slot: bool
    order: tuple[int, ...]
    file: tuple[int, ...] = ()
    passed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """All of it.

    Attributes:
        master: process id of who hands it over.
        channel: descriptor of a socket between the two; its end says that the other is gone.
        mask: the signals that were blocked when the old master was started. All are until the new
            one can take them.
        rows: the listeners.
    """

    master: int
    channel: int
    mask: tuple[int, ...]
    rows: tuple[Bequest, ...]

    @property
    def descriptors(self) -> list[int]:
        return [self.channel, *(one for row in self.rows for one in row.sockets)]

    def encode(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)})


class Estate:
    """An inheritance while it is divided up.

    Attributes:
        left: what no address has claimed.
    """

    def __init__(self, rows: Sequence[Bequest]) -> None:
        self.left = list(rows)

    def claim(self, address: Address) -> list[Bequest]:
        """What is bound for an address already, several where it stands for several; or nothing."""
        match address:
            case TcpAddress(port=port):
                claimed: list[Bequest] = []
                for name in names_of(address):
                    host = name.rpartition(":")[0]
                    claimed += self._first(partial(_is_bound_to, host, port))
                    if claimed:  # port 0 means a free one, and the same for all its hosts
                        port = int(claimed[0].name.rpartition(":")[2])
                return claimed
            case UnixAddress(path):
                path = os.path.abspath(path)
                name = f"unix:{path}"
                return self._first(lambda row: row.name == name and _is_there(path, row.file))
            case FdAddress(fd):
                return self._first(lambda row: row.passed and row.sockets[0] == fd)

    def _first(self, fits: Callable[[Bequest], bool]) -> list[Bequest]:
        for row in self.left:
            if fits(row):
                self.left.remove(row)
                return [row]
        return []


def _is_bound_to(host: str, port: int, row: Bequest) -> bool:
    own_host, _, own_port = row.name.rpartition(":")
    return not row.passed and own_host == host and port in (0, int(own_port))


def _is_there(path: str, identity: tuple[int, ...]) -> bool:
    """Is the socket file still the one that was made? Where it is not, nobody can connect by it."""
    try:
        seen = os.lstat(path)
    except OSError:
        return False
    return (seen.st_dev, seen.st_ino) == identity


def take(environ: MutableMapping[str, str]) -> Inheritance | None:
    """What an older master has handed to us, if one has; nobody whom we start shall find it.

    Raises:
        UsageError: it is not in the form that we understand.
    """
    text = environ.pop(VARIABLE, "")
    if not text:
        return None
    try:
        inheritance = _decode(json.loads(text))
        for descriptor in inheritance.descriptors:
            os.set_inheritable(descriptor, False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UsageError(
            f"{VARIABLE} is not what this pounce understands ({error}); only a running master sets "
            "it, at an upgrade: restart instead, or unset it"
        ) from None
    return inheritance


def _decode(said: dict[str, Any]) -> Inheritance:
    if said["version"] != VERSION:
        raise ValueError(f"version {said['version']}, not {VERSION}")
    return Inheritance(
        master=int(said["master"]),
        channel=int(said["channel"]),
        mask=tuple(map(int, said["mask"])),
        rows=tuple(
            Bequest(
                name=str(row["name"]),
                sockets=tuple(map(int, row["sockets"])),
                per_slot=bool(row["per_slot"]),
                order=tuple(map(int, row["order"])),
                file=tuple(map(int, row["file"])),
                passed=bool(row["passed"]),
            )
            for row in said["rows"]
        ),
    )
