"""The PROXY protocol, versions 1 and 2: what a proxy says of the connection behind it. Pure.

Source: "The PROXY protocol", HAProxy, versions 1 and 2, sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Final, NamedTuple

V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
V1_LONGEST: Final = 107  # bytes, with its CRLF
V2_LONGEST: Final = 16 + 4096  # addresses and type-length-values; others are 536 at most
V1_LINE: Final = re.compile(
    rb"PROXY (?:(TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ([0-9]{1,5}) ([0-9]{1,5})"
    rb"|UNKNOWN[^\r\n]*)\r\n"
)


class ProxyHeaderError(Exception):
    """The connection does not begin with a PROXY header, or with a wrong one."""


class ProxyHeader(NamedTuple):
    """What the header said.

    Attributes:
        size: bytes of it; what follows belongs to the connection.
        client, server: None for UNKNOWN and LOCAL: the connection's own addresses stand.
    """

    size: int
    client: tuple[str, int] | None
    server: tuple[str, int] | None


def parse(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with; None when more bytes are needed to tell.

    Raises:
        ProxyHeaderError: there is none, or it is malformed.
    """
    if data[:12] == V2_SIGNATURE[: len(data)]:
        return _parse_v2(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _parse_v1(data)
    raise ProxyHeaderError("no PROXY header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_LONGEST) + 2
    if end < 2:
        if len(data) >= V1_LONGEST:
            raise ProxyHeaderError(f"PROXY line over {V1_LONGEST} bytes")
        return None
    line = V1_LINE.fullmatch(data[:end])
    if line is None:
        raise ProxyHeaderError("malformed PROXY line")
    kind, source, destination, source_port, destination_port = line.groups()
    if kind is None:
        return ProxyHeader(end, None, None)
    version = 4 if kind == b"TCP4" else 6
    return ProxyHeader(
        end,
        _endpoint(source, source_port, version),
        _endpoint(destination, destination_port, version),
    )


def _endpoint(host: bytes, port: bytes, version: int) -> tuple[str, int]:
    try:
        address = ipaddress.ip_address(host.decode("ascii"))
    except ValueError:
        raise ProxyHeaderError("malformed address in the PROXY line") from None
    if address.version != version or int(port) > 65535:
        raise ProxyHeaderError("address or port of the wrong kind in the PROXY line")
    return str(address), int(port)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from("!BBH", data, 12)
    if command not in (0x20, 0x21):
        raise ProxyHeaderError("PROXY header of an unknown version or command")
    if 16 + length > V2_LONGEST:
        raise ProxyHeaderError(f"PROXY header over {V2_LONGEST} bytes")
    if len(data) < 16 + length:
        return None
    end = 16 + length
    if command == 0x20 or family >> 4 not in (1, 2) or family & 15 != 1:
        return ProxyHeader(end, None, None)  # LOCAL, or not TCP: the connection's own addresses
    size = 4 if family >> 4 == 1 else 16
    if length < 2 * size + 4:
        raise ProxyHeaderError("PROXY header too short for its addresses")
    source = str(ipaddress.ip_address(data[16 : 16 + size]))
    destination = str(ipaddress.ip_address(data[16 + size : 16 + 2 * size]))
    source_port, destination_port = struct.unpack_from("!HH", data, 16 + 2 * size)
    return ProxyHeader(end, (source, source_port), (destination, destination_port))
