"""TCP sockets that share a port: who may join, and how many wait."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

import pytest

from pounce.addresses import TcpAddress
from pounce.tcp import bind_tcp, join_tcp, names_of, queue_depth
from tests.support.groups import FAMILIES, PATIENCE, linux_only, needs_ipv6


def close_all(rows: list[list[socket.socket]]) -> None:
    for row in rows:
        for one in row:
            one.close()


@linux_only
@pytest.mark.parametrize("host", FAMILIES)
def test_a_socket_that_joins_has_the_port_and_does_not_listen(host: str) -> None:
    ((first,),) = bind_tcp(TcpAddress(host, 0), 1, ours=())
    with first, join_tcp(first) as other, join_tcp(other) as third:
        assert first.getsockname() == other.getsockname() == third.getsockname()
        assert not os.get_inheritable(other.fileno())
        with socket.socket(first.family) as client, pytest.raises(ConnectionRefusedError):
            client.connect(first.getsockname())
        third.listen()
        with socket.socket(first.family) as client:
            client.settimeout(PATIENCE)
            client.connect(first.getsockname())
            third.accept()[0].close()


@linux_only
def test_the_wildcard_of_ipv6_is_joined_without_its_ipv4() -> None:
    rows = bind_tcp(TcpAddress("", 0), 1, ours=())
    try:
        for row in rows:
            row.append(join_tcp(row[0]))
            for one in row:
                one.listen()
    finally:
        close_all(rows)


@linux_only
def test_a_port_is_not_joined_where_it_is_not_shared() -> None:
    descriptors = os.listdir("/dev/fd")
    with socket.create_server(("127.0.0.1", 0)) as alone:
        port = alone.getsockname()[1]
        with pytest.raises(OSError, match=rf"^127\.0\.0\.1:{port} cannot be bound once more: "):
            join_tcp(alone)
    assert os.listdir("/dev/fd") == descriptors


@linux_only
@pytest.mark.skipif(os.geteuid() != 0, reason="needs the rights of root, to give them away")
def test_a_low_port_that_cannot_be_joined_without_rights_says_what_that_means() -> None:
    for port in range(1023, 900, -1):
        with contextlib.suppress(Exception):
            ((first,),) = bind_tcp(TcpAddress("127.0.0.1", port), 1, ours=())
            break
    else:
        pytest.skip("no low port is free")
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            join_tcp(first)
        except OSError as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    first.close()
    with os.fdopen(read_end) as said:
        text = said.read()
    if not text:
        pytest.skip("low ports are open to everybody here")
    assert text.startswith(f"127.0.0.1:{port} cannot be bound once more: ports below 1024 need")
    assert text.endswith("can only be chosen at the start")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says it (TCP_INFO)")
@pytest.mark.parametrize("host", FAMILIES)
def test_the_depth_of_a_queue_is_what_waits_there(host: str) -> None:
    ((listener,),) = bind_tcp(TcpAddress(host, 0), 1, ours=())
    with listener, contextlib.ExitStack() as until_done:
        assert queue_depth(listener) == 0, "it does not listen yet"
        listener.listen(64)
        for depth in range(1, 4):
            client = until_done.enter_context(socket.socket(listener.family))
            client.settimeout(PATIENCE)
            client.connect(listener.getsockname())
            assert queue_depth(listener) == depth
        listener.accept()[0].close()
        assert queue_depth(listener) == 2


def test_the_depth_of_what_is_no_tcp_listener_is_not_known() -> None:
    with socket.socket(socket.AF_UNIX) as one:
        assert queue_depth(one) == 0


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.1", ["127.0.0.1:80"]),
        ("::1", ["[::1]:80"]),
        ("", ["0.0.0.0:80", "[::]:80"]),
        ("::", ["0.0.0.0:80", "[::]:80"]),
        ("nobody.invalid", []),
    ],
)
def test_the_names_of_an_address_are_those_it_would_be_shown_with(
    host: str, names: list[str]
) -> None:
    assert names_of(TcpAddress(host, 80)) == names
