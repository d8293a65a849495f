"""Addresses as text, and the sockets they become."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from pounce.addresses import Address, FdAddress, TcpAddress, UnixAddress, parse_address
from pounce.errors import BindError, ConfigError
from pounce.listeners import Listeners, open_listeners

LOCAL = TcpAddress("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", TcpAddress("127.0.0.1", 8000)),
        ("localhost:0", TcpAddress("localhost", 0)),
        (":8000", TcpAddress("", 8000)),
        ("[::1]:8000", TcpAddress("::1", 8000)),
        ("[fe80::1%eth0]:8000", TcpAddress("fe80::1%eth0", 8000)),
        ("unix:/run/a.sock", UnixAddress("/run/a.sock")),
        ("unix:a.sock", UnixAddress("a.sock")),
        ("fd://3", FdAddress(3)),
    ],
)
def test_each_form_is_read(text: str, address: Address) -> None:
    assert parse_address(text, origin="--bind") == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "8000", "localhost", "::1:8000", "[::1]", "a:b", "a:-1", "a:65536", "a b:1", "unix:"),
        *("unix:" + "x" * 108, "unix:a\0b", "fd:3", "fd://", "fd://x", "http://a:1"),
        *("\u0663:80", "a:\u0663"),
    ],
)
def test_anything_else_is_refused_with_its_origin(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text, origin="POUNCE_BIND")
    assert "(from POUNCE_BIND)" in str(caught.value)
    assert repr(text) in str(caught.value)


def opened(*addresses: Address, slots: int = 2) -> Listeners:
    return open_listeners(addresses, slots=slots, backlog=16)


def port_of(listeners: Listeners) -> int:
    return int(listeners.names[0].rpartition(":")[2])


def test_every_slot_has_its_own_listener_on_one_port() -> None:
    listeners = opened(LOCAL, slots=3)
    try:
        descriptors = [listeners.for_slot(slot)[0] for slot in range(3)]
        assert len(set(descriptors)) == 3
        ports = set()
        for descriptor in descriptors:
            with socket.socket(fileno=os.dup(descriptor)) as one:
                ports.add(one.getsockname()[1])
                assert not one.get_inheritable()
        assert ports == {port_of(listeners)}
    finally:
        listeners.close()


def test_nobody_is_let_in_before_a_slot_listens_and_then_queues() -> None:
    listeners = opened(LOCAL)
    try:
        name = ("127.0.0.1", port_of(listeners))
        with socket.socket() as early, pytest.raises(ConnectionRefusedError):
            early.connect(name)
        listeners.listen(0)
        with socket.socket() as client:
            client.connect(name)
    finally:
        listeners.close()
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect(name)


def test_a_second_server_is_refused_though_the_kernel_would_let_it_join() -> None:
    listeners = opened(LOCAL)
    try:
        again = TcpAddress("127.0.0.1", port_of(listeners))
        for _ in range(2):  # bound, then listening
            with pytest.raises(BindError, match=f"pid {os.getpid()}|another process"):
                opened(again)
            listeners.listen(0)
            listeners.listen(1)
    finally:
        listeners.close()
    opened(again).close()


def test_of_several_addresses_all_are_bound_or_none(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"127.0.0.1:{port} cannot be bound"):
            opened(UnixAddress(str(path)), LOCAL, TcpAddress("127.0.0.1", port))
    assert not path.exists()


def test_one_address_twice_is_said_to_be_that() -> None:
    listeners = opened(LOCAL)
    port = port_of(listeners)
    listeners.close()
    with pytest.raises(BindError, match="given twice"):
        opened(TcpAddress("127.0.0.1", port), TcpAddress("127.0.0.1", port))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (TcpAddress("192.0.2.1", 0), "has no address 192.0.2.1"),
        (TcpAddress("no-such-host.invalid", 0), "no address is known for"),
    ],
)
def test_an_address_that_cannot_be_ours_says_why(address: TcpAddress, reason: str) -> None:
    with pytest.raises(BindError, match=reason):
        opened(address)


# Unix sockets


def test_a_unix_socket_is_one_for_all_slots_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listeners = opened(UnixAddress(str(path)))
    assert listeners.for_slot(0) == listeners.for_slot(1)
    assert listeners.names == (f"unix:{path}",)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    listeners.close()
    listeners.close()
    assert not path.exists()


def test_a_stale_socket_file_is_replaced_a_live_one_and_other_files_are_not(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listeners = opened(UnixAddress(str(path)))
    with pytest.raises(BindError, match="a process listens there"):
        opened(UnixAddress(str(path)))
    listeners.close()
    path.write_text("precious")
    with pytest.raises(BindError, match="no socket is in the way"):
        opened(UnixAddress(str(path)))
    assert path.read_text() == "precious"
    with pytest.raises(BindError, match="create it first"):
        opened(UnixAddress(str(tmp_path / "no" / "sock")))


def test_a_socket_file_that_is_no_longer_ours_is_left(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listeners = opened(UnixAddress(str(path)))
    path.rename(tmp_path / "moved")  # or its inode might come again
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listeners.close()
        assert path.exists()


def test_mode_and_owner_are_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    owner = f"{os.getuid()}:{os.getgid()}"
    listeners = open_listeners(
        [UnixAddress(str(path))], slots=1, backlog=1, uds_mode=0o600, uds_owner=owner
    )
    seen = path.stat()
    listeners.close()
    assert (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) == (
        0o600,
        os.getuid(),
        os.getgid(),
    )


def test_an_owner_that_is_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-user"):
        open_listeners(
            [UnixAddress(str(tmp_path / "sock"))], slots=1, backlog=1, uds_owner="no-such-user"
        )


# Inherited sockets, and children


def test_an_inherited_socket_is_used_and_stays_open_for_who_gave_it() -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        listeners = opened(FdAddress(os.dup(given.fileno())))
        assert port_of(listeners) == given.getsockname()[1]
        listeners.listen(0)
        listeners.close()
        with socket.socket() as client:
            client.connect(given.getsockname())


def test_a_descriptor_that_is_no_listener_is_refused() -> None:
    read_end, write_end = os.pipe()
    with pytest.raises(BindError, match=f"fd://{read_end} cannot be used"):
        opened(FdAddress(read_end))
    with (
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        pytest.raises(BindError, match="not a stream socket"),
    ):
        opened(FdAddress(datagrams.fileno()))
    os.close(read_end)
    os.close(write_end)
    with pytest.raises(BindError, match="Bad file descriptor"):
        opened(FdAddress(write_end))


def test_a_worker_keeps_only_its_slot_and_the_server_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    listeners = opened(LOCAL, UnixAddress(str(path)), slots=3)
    kept = listeners.for_slot(1)
    others = {fd for slot in (0, 2) for fd in listeners.for_slot(slot)} - set(kept)
    pid = os.fork()
    if pid == 0:
        try:
            listeners.keep_only(1)
            for fd in kept:
                os.fstat(fd)
            for fd in others:
                try:
                    os.fstat(fd)
                except OSError:
                    continue
                os._exit(1)
            listeners.abandon()
        except BaseException:
            os._exit(2)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert path.exists()
    listeners.close()
