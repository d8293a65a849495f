"""What clients offer by ALPN, from hellos that openssl has written."""

from __future__ import annotations

import contextlib
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pounce.worker.client_hello import IncompleteError, offered_protocols


def hello(*protocols: str, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = most
    if protocols:
        context.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="example.com")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


GOOD = hello("h2", "http/1.1")


@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("protocols", [(), ("foo",), ("h2", "http/1.1")])
def test_what_is_offered_is_found(protocols: tuple[str, ...], most: ssl.TLSVersion) -> None:
    assert offered_protocols(hello(*protocols, most=most)) == [each.encode() for each in protocols]


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_a_part_of_it_is_not_judged(size: int) -> None:
    with pytest.raises(IncompleteError):
        offered_protocols(GOOD[:size])


@pytest.mark.parametrize("step", [len(GOOD) // 15, 100, 500])
def test_it_may_be_spread_over_records(step: int) -> None:
    body = GOOD[5:]
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    records = b"".join(b"\x16\x03\x01" + struct.pack("!H", len(each)) + each for each in pieces)
    assert offered_protocols(records) == [b"h2", b"http/1.1"]


def test_what_came_behind_it_does_not_matter() -> None:
    assert offered_protocols(GOOD + b"\x14\x03\x03\x00\x01\x01") == [b"h2", b"http/1.1"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"".join(b"\x16\x03\x01\x00\x01" + GOOD[5 + at : 6 + at] for at in range(17)),
        b"\x16\x03\x01\xff\xff" + b"\x01\xff\xff\xff" + bytes(40_000),
    ],
    ids=["http", "empty record", "another message", "too short", "too many", "too long"],
)
def test_anything_else_is_left_to_openssl(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # any will do
        offered_protocols(data)


@given(at=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), junk=st.binary(max_size=100))
def test_junk_raises_nothing_else(at: int, byte: int, junk: bytes) -> None:
    for data in (junk, b"\x16\x03\x01" + junk, GOOD[:at] + bytes([byte]) + GOOD[at + 1 :] + junk):
        with contextlib.suppress(ValueError, IncompleteError):
            offered_protocols(data)
