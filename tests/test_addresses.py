"""Addresses as text: the five forms, and what is said about everything else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pounce.addresses import Address, FdAddress, TcpAddress, UnixAddress, parse_address
from pounce.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", TcpAddress("127.0.0.1", 8000)),
        ("localhost:80", TcpAddress("localhost", 80)),
        ("my-host_1.example.org:65535", TcpAddress("my-host_1.example.org", 65535)),
        (":8000", TcpAddress("", 8000)),
        ("127.0.0.1:0", TcpAddress("127.0.0.1", 0)),
        ("[::1]:8000", TcpAddress("::1", 8000)),
        ("[fe80::1%eth0]:8000", TcpAddress("fe80::1%eth0", 8000)),
        ("[::]:8000", TcpAddress("::", 8000)),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock")),
        ("unix:app.sock", UnixAddress("app.sock")),
        ("unix:" + "x" * 107, UnixAddress("x" * 107)),
        ("fd://3", FdAddress(3)),
    ],
)
def test_an_address_has_one_of_five_forms(text: str, address: Address) -> None:
    assert parse_address(text, origin="--bind") == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8000",
        "localhost",
        "localhost:",
        "localhost:http",
        "localhost:-1",
        "localhost:+80",
        "localhost:٨٠",  # digits, but not ours
        "localhost:1234567890",
        "localhost:80 ",
        " localhost:80",
        "local host:80",
        "::1:8000",
        "[::1]",
        "[::1:8000",
        "[localhost]:80",
        "http://localhost:80",
        "localhost:80\n",
        "fd:3",
        "fd://",
        "fd://x",
        "fd://-1",
        "unix:",
        "unix:/run/a\0b",
    ],
)
def test_everything_else_is_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\(from POUNCE_BIND\); it must be (host:|unix:|fd:)"):
        parse_address(text, origin="POUNCE_BIND")


def test_a_port_that_cannot_be_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_address("localhost:65536", origin="--bind")
    assert str(refused.value) == (
        "bind is 'localhost:65536' (from --bind); it must be a port from 0 to 65535"
    )


def test_a_unix_path_fits_into_the_kernels_108_bytes() -> None:
    with pytest.raises(ConfigError, match="at most 107 bytes"):
        parse_address("unix:" + "ä" * 54, origin="--bind")


@settings(deadline=None)
@given(text=st.text(max_size=20) | st.text(alphabet="[]:/.a1unixfd", max_size=20))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        address = parse_address(text, origin="--bind")
    except ConfigError:
        return
    assert isinstance(address, TcpAddress | UnixAddress | FdAddress)
