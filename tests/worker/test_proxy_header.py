"""The PROXY protocol: what is a header, what is none, and any way of cutting it."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.proxy_header import (
    V1_LONGEST,
    V2_LONGEST,
    V2_SIGNATURE,
    ProxyHeader,
    ProxyHeaderError,
    parse,
)


def v2(
    command: int = 0x21, family: int = 0x11, body: bytes = b"", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    return V2_SIGNATURE + struct.pack("!BBH", command, family, size) + body


TCP4 = bytes([192, 0, 2, 1, 192, 0, 2, 9]) + struct.pack("!HH", 4711, 443)
TCP6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::9")
    + struct.pack("!HH", 4711, 443)
)
FOUR = (("192.0.2.1", 4711), ("192.0.2.9", 443))
SIX = (("2001:db8::1", 4711), ("2001:db8::9", 443))
UNCHANGED = (None, None)

GOOD = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 443\r\n", FOUR),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::9 4711 443\r\n", SIX),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", UNCHANGED),
    "v1 UNKNOWN with more": (b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n", UNCHANGED),
    "v2 TCP4": (v2(body=TCP4), FOUR),
    "v2 TCP6": (v2(family=0x21, body=TCP6), SIX),
    "v2 with extras": (v2(body=TCP4 + b"\x04\x00\x02xx"), FOUR),
    "v2 LOCAL": (v2(0x20, 0x00), UNCHANGED),
    "v2 LOCAL with addresses": (v2(0x20, body=TCP4), UNCHANGED),
    "v2 unspecified": (v2(family=0x00), UNCHANGED),
    "v2 UDP": (v2(family=0x12, body=TCP4), UNCHANGED),
    "v2 unix": (v2(family=0x31, body=b"\0" * 216), UNCHANGED),
}
BAD = {
    "a request": b"GET / HTTP/1.1\r\n",
    "lower case": b"proxy TCP4 192.0.2.1 192.0.2.9 4711 443\r\n",
    "too long": b"PROXY UNKNOWN" + b" " * V1_LONGEST + b"\r\n",
    "no end": b"PROXY UNKNOWN" + b" " * V1_LONGEST,
    "bare LF": b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 443\n\r\n",
    "address of the other family": b"PROXY TCP4 ::1 ::1 4711 443\r\n",
    "no address": b"PROXY TCP4 1.2.3 192.0.2.9 4711 443\r\n",
    "port too high": b"PROXY TCP4 192.0.2.1 192.0.2.9 65536 443\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 192.0.2.9 4711 443\r\n",
    "missing port": b"PROXY TCP4 192.0.2.1 192.0.2.9 4711\r\n",
    "another protocol": b"PROXY UDP4 192.0.2.1 192.0.2.9 4711 443\r\n",
    "v2 version 3": v2(0x31, body=TCP4),
    "v2 unknown command": v2(0x22, body=TCP4),
    "v2 too short": v2(body=TCP4[:-1]),
    "v2 too long": v2(body=b"", length=V2_LONGEST),
    "v2 broken signature": V2_SIGNATURE[:-1] + b"X" + b"\0" * 8,
}


@pytest.mark.parametrize("name", GOOD)
def test_a_header_is_read_and_what_follows_is_left(name: str) -> None:
    data, (client, server) = GOOD[name]
    assert parse(data + b"GET / HTTP/1.1\r\n") == ProxyHeader(len(data), client, server)


@pytest.mark.parametrize("name", GOOD)
def test_a_piece_of_a_header_asks_for_more(name: str) -> None:
    data, _ = GOOD[name]
    for size in range(len(data)):
        assert parse(data[:size]) is None, data[:size]


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(ProxyHeaderError):
        parse(BAD[name])


@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=60).map(lambda tail: b"PROXY " + tail),
        st.binary(max_size=60).map(lambda tail: V2_SIGNATURE + tail),
    )
)
def test_no_bytes_bring_anything_but_the_three_outcomes(data: bytes) -> None:
    try:
        header = parse(data)
    except ProxyHeaderError:
        return
    assert header is None or 0 < header.size <= len(data)
