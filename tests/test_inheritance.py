"""What one master hands to the next: its form, who may claim it, and listeners made of it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pounce.addresses import FdAddress, TcpAddress, UnixAddress, parse_address
from pounce.errors import UsageError
from pounce.inheritance import VARIABLE, Bequest, Estate, Inheritance, take
from pounce.listeners import Listeners, open_listeners
from pounce.supervisor.upgrade import Command
from tests.test_listeners import linux_only

ROW = Bequest(name="127.0.0.1:8000", sockets=(5, 6), per_slot=True, order=(1, 0))
SIX = replace(ROW, name="[::1]:8000")


# The form


def inheritance(channel: int, *rows: Bequest) -> Inheritance:
    return Inheritance(master=4121, channel=channel, mask=(2, 15), rows=rows)


def test_what_is_taken_is_what_was_handed_over_and_nobody_else_finds_it() -> None:
    with socket.socket() as one, socket.socket() as other:
        os.set_inheritable(one.fileno(), True)
        os.set_inheritable(other.fileno(), True)
        row = replace(ROW, sockets=(other.fileno(),), file=(1, 2))
        handed = inheritance(one.fileno(), row)
        environ = {"A": "b", VARIABLE: handed.encode()}
        assert take(environ) == handed
        assert environ == {"A": "b"}
        assert not one.get_inheritable()
        assert not other.get_inheritable()


def test_mostly_there_is_nothing() -> None:
    assert take({"A": "b"}) is None


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        json.dumps({"version": 2}),
        inheritance(100_000).encode(),  # a descriptor that is not there
    ],
)
def test_what_is_not_understood_is_said_to_be_so(text: str) -> None:
    with pytest.raises(UsageError, match=r"^POUNCE_INHERIT is not what"):
        take({VARIABLE: text})


# Claims


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("127.0.0.1:8000", ["127.0.0.1:8000"]),
        ("127.0.0.1:0", ["127.0.0.1:8000"]),  # the free port that was found is kept
        ("[::1]:8000", ["[::1]:8000"]),
        ("127.0.0.1:8001", []),
        ("127.0.0.2:8000", []),
        ("0.0.0.0:8000", []),
        ("no-such-host.invalid:8000", []),
        ("unix:127.0.0.1:8000", []),
    ],
)
def test_an_address_claims_what_is_bound_for_it(address: str, names: list[str]) -> None:
    estate = Estate([ROW, SIX])
    claimed = estate.claim(parse_address(address, origin="test"))
    assert [row.name for row in claimed] == names
    assert estate.left == [row for row in (ROW, SIX) if row not in claimed]


def test_nothing_is_claimed_twice() -> None:
    estate = Estate([ROW, replace(ROW, name="127.0.0.1:9000")])
    found = [estate.claim(TcpAddress("127.0.0.1", 0)) for _ in range(3)]
    assert [[row.name for row in each] for each in found] == [
        ["127.0.0.1:8000"],
        ["127.0.0.1:9000"],
        [],
    ]


def test_both_hosts_of_an_address_keep_one_port() -> None:
    rows = [replace(ROW, name=name) for name in ("0.0.0.0:1", "[::]:2", "[::]:1")]
    claimed = Estate(rows).claim(TcpAddress("", 0))
    if socket.has_ipv6:
        assert [row.name for row in claimed] == ["0.0.0.0:1", "[::]:1"]


def test_a_socket_file_is_claimed_as_long_as_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    path.touch()
    seen = path.stat()
    row = replace(ROW, name=f"unix:{path}", file=(seen.st_dev, seen.st_ino), per_slot=False)
    assert Estate([row]).claim(UnixAddress(str(path))) == [row]
    assert Estate([replace(row, file=(1, 2))]).claim(UnixAddress(str(path))) == []
    path.unlink()
    assert Estate([row]).claim(UnixAddress(str(path))) == []


def test_what_was_passed_open_is_known_by_its_number_alone() -> None:
    row = replace(ROW, sockets=(3,), per_slot=False, passed=True)
    assert Estate([row]).claim(TcpAddress("127.0.0.1", 8000)) == []
    assert Estate([row]).claim(FdAddress(4)) == []
    assert Estate([row]).claim(FdAddress(3)) == [row]


# Listeners


@pytest.fixture
def closing() -> Iterator[list[Listeners]]:
    opened: list[Listeners] = []
    yield opened
    for one in opened:
        one.abandon()


def heirs(one: Listeners, text: str, **options: Any) -> Listeners:
    """Listeners made of duplicates of another's, as in another process."""
    rows = [replace(row, sockets=tuple(map(os.dup, row.sockets))) for row in one.bequest()]
    addresses = [parse_address(text, origin="test")] if text else []
    return open_listeners(addresses, backlog=16, inherited=rows, **options)


def connects(address: tuple[str, int] | str) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        try:
            client.connect(address)
        except OSError:
            return False
        return True


def place_of(one: Listeners) -> tuple[str, int]:
    host, _, port = one.names[0].rpartition(":")
    return host, int(port)


@linux_only
def test_slots_and_the_order_they_listen_in_are_taken_over(closing: list[Listeners]) -> None:
    old = open_listeners([TcpAddress("127.0.0.1", 0)], slots=2, backlog=16)
    closing.append(old)
    old.listen(1)
    old.listen(0)
    new = heirs(old, "127.0.0.1:0", slots=2)
    closing.append(new)
    assert new.names == old.names
    assert new.bequest()[0].order == (1, 0)
    new.listen(0)
    assert new.bequest()[0].order == (1, 0)


@linux_only
@pytest.mark.parametrize(("before", "wanted", "there"), [(1, 3, 3), (3, 1, 3), (2, 2, 2)])
def test_slots_are_added_but_none_is_left_alone(
    before: int, wanted: int, there: int, closing: list[Listeners]
) -> None:
    old = open_listeners([TcpAddress("127.0.0.1", 0)], slots=before, backlog=16)
    new = heirs(old, "127.0.0.1:0", slots=wanted)
    closing += [old, new]
    assert new.slots == there
    assert len({new.for_slot(slot) for slot in range(there)}) == there


def test_as_long_as_both_have_a_part_in_it_neither_ends_the_listening(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    old = open_listeners([UnixAddress(str(path))], slots=1, backlog=16)
    heirs(old, f"unix:{path}", slots=1).close()  # an upgrade that has failed
    assert connects(str(path))
    new = heirs(old, f"unix:{path}", slots=1)
    old.lend()
    new.take_over()
    old.close()  # one that has not
    assert connects(str(path))
    new.close()
    assert not path.exists()


def test_what_is_not_wanted_any_more_is_kept_until_it_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    old = open_listeners([UnixAddress(str(path))], slots=1, backlog=16)
    new = heirs(old, "", slots=1)
    assert new.names == ()
    old.abandon()  # the old master has died
    assert connects(str(path))
    new.take_over()
    assert not path.exists()
    new.close()


@linux_only
def test_the_end_of_a_lent_listener_is_its_end_once_it_is_taken_over(
    closing: list[Listeners],
) -> None:
    old = open_listeners([TcpAddress("127.0.0.1", 0)], slots=1, backlog=16)
    closing.append(old)
    old.listen(0)
    place = place_of(old)
    new = heirs(old, "127.0.0.1:0", slots=1)
    new.close()
    assert connects(place)
    new = heirs(old, "127.0.0.1:0", slots=1)
    new.take_over()
    new.close()  # though somebody else holds a copy
    assert not connects(place)


# The command


def test_the_command_goes_by_the_path_that_the_directory_was_reached_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "current").symlink_to("one")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    assert Command.own().directory == str(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path))  # of somebody who has moved since
    assert Command.own().directory == str(tmp_path / "one")
    monkeypatch.setenv("PWD", str(tmp_path / "none"))
    assert Command.own().directory == str(tmp_path / "one")


def test_the_command_hands_on_the_environment_but_no_inheritance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "x")
    monkeypatch.setenv("POUNCE_WORKERS", "3")
    environment = Command.own().environment
    assert VARIABLE not in environment
    assert environment["POUNCE_WORKERS"] == "3"
