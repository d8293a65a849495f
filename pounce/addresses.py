"""Where to listen, as text and as a value. Knows the forms; looks nothing up, opens nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pounce.errors import ConfigError

# sun_path is 108 bytes with its NUL, unix(7).
UNIX_PATH_LIMIT: Final = 107  # bytes
WANT: Final = "host:port, [address]:port, :port, unix:/path or fd://number"
# A host in brackets is an IPv6 address, perhaps with its zone (fe80::1%eth0).
TCP: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]*)):([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """``host`` is a name or an address without brackets; "" and "::" mean all interfaces."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A path in the file system."""

    path: str


@dataclass(frozen=True, slots=True)
class FdAddress:
    """A socket that was open before we started (systemd, a test, another master)."""

    fd: int


Address = TcpAddress | UnixAddress | FdAddress


def parse_address(text: str, *, origin: str, name: str = "bind") -> Address:
    """The address that `text` names; looks nothing up.

    Raises:
        ConfigError: it is none of the five forms; names `origin` and the setting, `name`.
    """

    def refuse(want: str) -> ConfigError:
        return ConfigError(name, text, origin=origin, want=want)

    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            raise refuse("unix:/path")
        if len(path.encode(errors="surrogateescape")) > UNIX_PATH_LIMIT:
            raise refuse(f"a unix: path of at most {UNIX_PATH_LIMIT} bytes")
        return UnixAddress(path)
    if text.startswith("fd:"):
        if not (found := re.fullmatch(r"fd://([0-9]{1,9})", text)):
            raise refuse("fd://number")
        return FdAddress(int(found[1]))
    if not (found := TCP.fullmatch(text)):
        raise refuse(WANT)
    if (port := int(found[3])) > 65535:
        raise refuse("a port from 0 to 65535")
    return TcpAddress(found[1] or found[2] or "", port)
