"""Slots that come and go, and the order of their listeners in the kernel's groups, for real."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pounce.addresses import parse_address
from pounce.listeners import Listeners, open_listeners
from pounce.supervisor import steering
from tests.support.groups import FAMILIES, PATIENCE, linux_only, needs_ipv6, takers

Open = Callable[..., Listeners]

pytestmark = linux_only

COUNT = 12  # by chance all would go to one of two members once in 2000 times


@pytest.fixture
def open_() -> Iterator[Open]:
    """open_listeners() with addresses as text; closed after the test."""
    with contextlib.ExitStack() as until_done:

        def call(*texts: str, slots: int = 1, **more: Any) -> Listeners:
            addresses = [parse_address(text, origin="test") for text in texts]
            listeners = open_listeners(addresses, slots=slots, backlog=64, **more)
            until_done.callback(listeners.close)
            return listeners

        yield call


def shown(host: str) -> str:
    return f"[{host}]:0" if ":" in host else f"{host}:0"


def prove_order(listeners: Listeners, listening: set[int]) -> None:
    """Steered to the one place that a slot is said to have, all connections come to that slot."""
    for slot in sorted(listening):
        for at, (member, places) in enumerate(listeners.groups):
            steering.steer(member, [(places[slot], 1)])
            members = {other: listeners.for_slot(other)[at] for other in listening}
            assert takers(members, COUNT) == {slot: COUNT}, f"{places} in group {at}"
            steering.detach(member)


@pytest.mark.parametrize("host", FAMILIES)
@pytest.mark.parametrize(
    "order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)], ids="listened {}".format
)
def test_the_places_are_in_the_order_of_listening_not_of_slots(
    open_: Open, host: str, order: tuple[int, ...]
) -> None:
    listeners = open_(shown(host), slots=3)
    for slot in order:
        listeners.listen(slot)
    listeners.listen(order[0])  # for a later worker of the slot: it stays where it is
    ((_, places),) = listeners.groups
    assert sorted(places.values()) == [0, 1, 2]
    assert sorted(places, key=places.__getitem__) == list(order)
    prove_order(listeners, {0, 1, 2})


@pytest.mark.parametrize("host", FAMILIES)
@pytest.mark.parametrize(
    "order", [(3, 0, 1, 2), (0, 3, 1, 2), (1, 0, 3, 2), (2, 1, 0, 3)], ids="listened {}".format
)
def test_the_places_are_known_after_a_slot_is_closed_wherever_it_was(
    open_: Open, host: str, order: tuple[int, ...]
) -> None:
    listeners = open_(shown(host), slots=4)
    for slot in order:
        listeners.listen(slot)
    listeners.close_slot()
    assert listeners.slots == 3
    prove_order(listeners, {0, 1, 2})
    listeners.close_slot()
    prove_order(listeners, {0, 1})
    listeners.add_slot()
    listeners.listen(2)
    prove_order(listeners, {0, 1, 2})


def test_a_slot_that_never_listened_has_no_place_to_lose(open_: Open) -> None:
    listeners = open_("127.0.0.1:0", slots=4)
    listeners.listen(2)
    listeners.listen(0)
    listeners.close_slot()
    prove_order(listeners, {0, 2})
    listeners.listen(1)
    prove_order(listeners, {0, 1, 2})


def test_one_slot_can_grow_and_the_new_one_is_refused_to_nobody_before_it_listens(
    open_: Open,
) -> None:
    listeners = open_("127.0.0.1:0")
    listeners.listen(0)
    listeners.add_slot()
    assert listeners.slots == 2
    assert listeners.for_slot(0) != listeners.for_slot(1)
    assert takers({0: listeners.for_slot(0)[0]}, COUNT) == {0: COUNT}
    listeners.listen(1)
    members = {slot: listeners.for_slot(slot)[0] for slot in range(2)}
    assert takers(members, 60).keys() == {0, 1}, "the kernel spreads connections over both"
    prove_order(listeners, {0, 1})


@needs_ipv6
def test_every_address_has_a_group_of_its_own(open_: Open) -> None:
    listeners = open_("127.0.0.1:0", "[::1]:0", "127.0.0.1:0", slots=2)
    listeners.listen(1)
    listeners.add_slot()
    listeners.listen(0)
    listeners.listen(2)
    assert [places for _, places in listeners.groups] == [{1: 0, 0: 1, 2: 2}] * 3
    prove_order(listeners, {0, 1, 2})
    listeners.close_slot()
    prove_order(listeners, {0, 1})


@pytest.mark.parametrize("shared", [False, True], ids=["a unix socket", "one listener for all"])
def test_what_all_slots_share_is_left_alone_when_slots_come_and_go(
    open_: Open, shared: bool, tmp_path: Path
) -> None:
    text = "127.0.0.1:0" if shared else f"unix:{tmp_path}/app.sock"
    listeners = open_(text, slots=2, shared=shared)
    assert not listeners.has_groups
    assert listeners.groups == []
    before = listeners.for_slot(0)
    listeners.listen(1)
    listeners.add_slot()
    assert [listeners.for_slot(slot) for slot in range(3)] == [before] * 3
    for slot in (2, 1):
        listeners.close_slot()
        assert takers({slot: before[0]}, 1) == {slot: 1}
    assert listeners.waiting(0) == 0


def test_a_group_beside_a_unix_socket_is_the_only_one(open_: Open, tmp_path: Path) -> None:
    listeners = open_(f"unix:{tmp_path}/app.sock", "127.0.0.1:0", slots=2)
    assert listeners.has_groups
    for slot in (1, 0):
        listeners.listen(slot)
    ((member, places),) = listeners.groups
    assert member.family == socket.AF_INET
    assert places == {1: 0, 0: 1}


def test_a_slot_of_which_one_listener_cannot_be_bound_is_not_there_at_all(open_: Open) -> None:
    listeners = open_("127.0.0.1:0", "127.0.0.1:0", slots=2)
    for slot in (1, 0):
        listeners.listen(slot)
    # The lowest free number is the last that may be used: the second socket finds none.
    spare = os.dup(0)
    os.close(spare)
    descriptors = os.listdir("/dev/fd")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            listeners.add_slot()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert os.listdir("/dev/fd") == descriptors
    assert listeners.slots == 2
    prove_order(listeners, {0, 1})
    listeners.add_slot()
    listeners.listen(2)
    prove_order(listeners, {0, 1, 2})


@pytest.mark.parametrize("host", FAMILIES)
def test_who_waits_is_counted_by_slot_over_all_its_listeners(open_: Open, host: str) -> None:
    listeners = open_(shown(host), shown(host), slots=2)
    assert [listeners.waiting(slot) for slot in range(2)] == [0, 0]
    for slot in (1, 0):
        listeners.listen(slot)
    assert [listeners.waiting(slot) for slot in range(2)] == [0, 0]
    with contextlib.ExitStack() as until_done:
        for member, places in listeners.groups:
            steering.steer(member, [(places[1], 1)])
            for _ in range(3):
                client = until_done.enter_context(socket.socket(member.family))
                client.settimeout(PATIENCE)
                client.connect(member.getsockname())
        assert [listeners.waiting(slot) for slot in range(2)] == [0, 6]
