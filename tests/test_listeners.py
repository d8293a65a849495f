"""Opening TCP listeners for real: slots, ports, double starts, errors that say what would do."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pounce import listeners as module
from pounce.addresses import parse_address
from pounce.errors import BindError
from pounce.listeners import Listeners, open_listeners

Open = Callable[..., Listeners]

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="one listener per slot is Linux")


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


@pytest.fixture
def open_() -> Iterator[Open]:
    """open_listeners() with addresses as text; closed after the test."""
    opened: list[Listeners] = []

    def call(*texts: str, slots: int = 1, backlog: int = 64, **more: Any) -> Listeners:
        addresses = [parse_address(text, origin="test") for text in texts]
        opened.append(open_listeners(addresses, slots=slots, backlog=backlog, **more))
        return opened[-1]

    yield call
    for each in opened:
        each.close()


def port_of(listeners: Listeners, at: int = 0) -> int:
    return int(listeners.names[at].rpartition(":")[2])


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=10)


def accept_one(*descriptors: int) -> int:
    """Accept one connection on any of the listeners; the descriptor of that listener."""
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        ((key, _), *_) = selector.select(10)
        with socket.socket(fileno=os.dup(key.fd)) as listener:
            listener.accept()[0].close()
        return key.fd


@linux_only
def test_every_slot_has_its_own_listener_on_the_same_port(open_: Open) -> None:
    listeners = open_("127.0.0.1:0", slots=3)
    descriptors = [listeners.for_slot(slot) for slot in range(3)]
    assert len(set(descriptors)) == 3
    for slot in range(3):
        listeners.listen(slot)
    clients = [connect(port_of(listeners)) for _ in range(60)]
    served = {accept_one(*(one for (one,) in descriptors)) for _ in clients}
    assert len(served) > 1, "the kernel spreads connections over the slots"
    for client in clients:
        client.close()


def test_clients_are_refused_until_the_slot_listens(open_: Open) -> None:
    listeners = open_("127.0.0.1:0")
    with pytest.raises(ConnectionRefusedError):
        connect(port_of(listeners))
    listeners.listen(0)
    with connect(port_of(listeners)):
        accept_one(*listeners.for_slot(0))


def test_port_0_becomes_a_real_port_in_the_name(open_: Open) -> None:
    listeners = open_("127.0.0.1:0", "127.0.0.1:0")
    assert [name.rpartition(":")[0] for name in listeners.names] == ["127.0.0.1"] * 2
    assert 0 < port_of(listeners, 0) != port_of(listeners, 1) > 0


@needs_ipv6
@pytest.mark.parametrize("text", [":0", "[::]:0"])
def test_all_interfaces_are_those_of_both_families_on_one_port(open_: Open, text: str) -> None:
    listeners = open_(text, slots=2)
    port = port_of(listeners)
    assert listeners.names == (f"0.0.0.0:{port}", f"[::]:{port}")
    listeners.listen(0)
    listeners.listen(1)
    for host in ("127.0.0.1", "::1"):
        connect(port, host).close()


@needs_ipv6
def test_an_ipv6_address_is_shown_as_it_is_written(open_: Open) -> None:
    listeners = open_("[::1]:0")
    listeners.listen(0)
    assert listeners.names == (f"[::1]:{port_of(listeners)}",)
    connect(port_of(listeners), "::1").close()


def test_a_name_is_bound_on_those_of_its_addresses_that_this_machine_has(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(*_: object, **__: object) -> list[object]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    listeners = open_("myself:0")
    assert listeners.names == (f"127.0.0.1:{port_of(listeners)}",)


def test_no_descriptor_survives_an_exec(open_: Open) -> None:
    listeners = open_("127.0.0.1:0", slots=3)
    for slot in range(3):
        assert [os.get_inheritable(one) for one in listeners.for_slot(slot)] == [False]


@linux_only
def test_the_backlog_is_the_same_each_time(open_: Open) -> None:
    listeners = open_("127.0.0.1:0", backlog=33)
    for _ in range(2):
        listeners.listen(0)
        (one,) = listeners.for_slot(0)
        with socket.socket(fileno=os.dup(one)) as listener:
            info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        assert struct.unpack_from("I", info, 28) == (33,), "tcpi_sacked: the limit of the queue"


def test_without_reuseport_the_slots_share_one_listener(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HAS_REUSEPORT", False)
    listeners = open_("127.0.0.1:0", slots=3)
    assert listeners.for_slot(0) == listeners.for_slot(2)
    listeners.keep_only(1)
    listeners.listen(1)
    connect(port_of(listeners)).close()


# Double starts


@pytest.mark.parametrize("listening", [False, True], ids=["still booting", "serving"])
def test_a_second_server_on_the_port_is_refused(open_: Open, listening: bool) -> None:
    first = open_("127.0.0.1:0", slots=2)
    if listening:
        first.listen(0)
        first.listen(1)
    port = port_of(first)
    holder = rf".* \(pid {os.getpid()}\)" if listening else "another process"
    with pytest.raises(BindError, match=rf"^127.0.0.1:{port} cannot be bound: {holder} has it; "):
        open_(f"127.0.0.1:{port}", slots=2)


def test_an_address_that_is_given_twice_is_said_to_be_that(open_: Open) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
    with pytest.raises(BindError, match="we have it already"):
        open_(f"127.0.0.1:{free}", f"127.0.0.1:{free}")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("shop", "stop it, or choose"),
        ("pounce-worker", "its master is gone, so it ends within 2 seconds: start again then"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="names come from /proc")
def test_another_process_is_named_with_its_pid_and_what_to_do(
    open_: Open, name: str, advice: str
) -> None:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        Path("/proc/self/comm").write_text(name)
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs.send(str(server.getsockname()[1]).encode())
            theirs.recv(1)
        os._exit(0)
    port = ours.recv(10).decode()
    try:
        with pytest.raises(BindError, match=rf"{name} \(pid {pid}\) has it; {advice}"):
            open_(f"127.0.0.1:{port}")
    finally:
        ours.send(b"x")
        os.waitpid(pid, 0)
        ours.close()
        theirs.close()


@pytest.mark.parametrize("slots", [1, 2])
def test_connections_of_the_server_before_do_not_keep_the_next_one_from_starting(
    open_: Open, slots: int
) -> None:
    first = open_("127.0.0.1:0", slots=2)
    first.listen(0)
    first.listen(1)
    port = port_of(first)
    clients = [connect(port) for _ in range(10)]
    accepted = []
    for _ in clients:
        for one in (*first.for_slot(0), *first.for_slot(1)):
            with socket.socket(fileno=os.dup(one)) as listener, contextlib.suppress(OSError):
                listener.setblocking(False)
                accepted.append(listener.accept()[0])
    assert len(accepted) == 10
    for each in accepted[:5]:
        each.close()  # FIN_WAIT and TIME_WAIT; the others stay open
    first.close()
    second = open_(f"127.0.0.1:{port}", slots=slots)
    with pytest.raises(BindError):
        open_(f"127.0.0.1:{port}", slots=slots)
    second.listen(0)
    for each in (*clients, *accepted[5:]):
        each.close()


# All or nothing


def test_one_address_that_fails_leaves_nothing_bound(open_: Open) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        free = other.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(BindError):
            open_(f"127.0.0.1:{free}", f"127.0.0.1:{taken.getsockname()[1]}", slots=2)
        with socket.socket() as again:
            again.bind(("127.0.0.1", free))


@needs_ipv6
def test_both_families_are_bound_or_none(open_: Open) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        taken.bind(("::", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=rf"^:{port} cannot be bound"):
            open_(f":{port}")
        with socket.socket() as again:
            again.bind(("0.0.0.0", port))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("192.0.2.1:8000", "this machine has no address 192.0.2.1; 0.0.0.0 and"),
        ("nobody.invalid:8000", "no address is known for 'nobody.invalid' ("),
    ],
)
def test_an_address_that_is_not_ours_is_refused(open_: Open, text: str, reason: str) -> None:
    with pytest.raises(BindError) as refused:
        open_(text)
    assert str(refused.value).startswith(f"{text} cannot be bound: {reason}")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EACCES, "ports below 1024 need root or CAP_NET_BIND_SERVICE"),
        (errno.EAFNOSUPPORT, "this machine has no IPv6"),
        (errno.ENOBUFS, os.strerror(errno.ENOBUFS)),
    ],
)
def test_what_cannot_be_provoked_everywhere_is_explained_as_well(
    open_: Open, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    class Refusing(socket.socket):
        def bind(self, _: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(BindError, match=reason):
        open_("127.0.0.1:80")


# Children and the end


def test_a_worker_keeps_only_the_listeners_of_its_slot(open_: Open) -> None:
    listeners = open_("127.0.0.1:0", slots=2)
    ((mine,), (other,)) = (listeners.for_slot(slot) for slot in range(2))
    if mine == other:
        pytest.skip("one listener for all here")
    listeners.keep_only(0)
    os.fstat(mine)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other)


def test_an_abandoned_copy_does_not_end_the_server(open_: Open) -> None:
    listeners = open_("127.0.0.1:0")
    listeners.listen(0)
    port = port_of(listeners)
    pid = os.fork()
    if pid == 0:
        listeners.abandon()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    connect(port).close()


def test_the_end_is_the_end_though_somebody_holds_a_copy(open_: Open) -> None:
    listeners = open_("127.0.0.1:0")
    listeners.listen(0)
    port = port_of(listeners)
    copy = os.dup(*listeners.for_slot(0))
    listeners.close()
    listeners.close()
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    os.close(copy)


# Descriptors from outside


def test_an_inherited_listener_is_served_under_its_real_address(open_: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        listeners = open_(f"fd://{os.dup(given.fileno())}", slots=2)
        assert listeners.names == (f"127.0.0.1:{port}",)
        assert listeners.for_slot(0) == listeners.for_slot(1)
        assert not os.get_inheritable(*listeners.for_slot(0))
        listeners.listen(0)
        listeners.close()
        connect(port).close()  # who gave it may give it to our successor


def test_a_descriptor_that_is_no_listener_is_refused(open_: Open) -> None:
    read_end, write_end = os.pipe()
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    cases = {
        9999: "Bad file descriptor",
        read_end: "Socket operation on non-socket",
        datagram.fileno(): "not a stream socket of TCP or unix",
    }
    for descriptor, reason in cases.items():
        with pytest.raises(BindError) as refused:
            open_(f"fd://{descriptor}")
        assert str(refused.value).startswith(f"fd://{descriptor} cannot be used: {reason}; it must")
    datagram.close()
    os.close(read_end)
    os.close(write_end)
