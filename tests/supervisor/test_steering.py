"""The kernel's choice among listeners that share a port, by programs of ours, for real."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from pounce.supervisor.steering import (
    JUMP_AT_LEAST,
    LOAD,
    MODULO,
    RANDOM,
    RETURN,
    WORKS,
    Instruction,
    attach,
    choose_among,
    detach,
    encode,
    steer,
)
from tests.support.groups import FAMILIES, group_of, linux_only, takers

COUNT = 200


@pytest.fixture(params=FAMILIES)
def group(request: pytest.FixtureRequest) -> Iterator[list[socket.socket]]:
    """Four listeners of one port."""
    with contextlib.ExitStack() as until_done:
        yield [until_done.enter_context(one) for one in group_of(request.param, 4)]


def ask(group: Sequence[socket.socket], count: int = COUNT) -> Counter[int]:
    return takers({at: one.fileno() for at, one in enumerate(group)}, count)


def evenly(*places: int) -> list[tuple[int, int]]:
    return [(place, 1) for place in places]


def run(program: Sequence[Instruction], random: int) -> int:
    """What the kernel would make of it."""
    value, at = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        match code:
            case 0x20:
                assert constant == RANDOM
                value = random
            case 0x94:
                value %= constant
            case 0x35:
                at += if_true if value >= constant else if_false
            case 0x06:
                return constant


# The program


@pytest.mark.parametrize("indices", [[0], [3], [0, 2], [5, 1, 4], list(range(100))], ids=len)
def test_each_of_the_indices_is_chosen_as_often_as_the_others(indices: list[int]) -> None:
    program = choose_among(evenly(*indices))
    chosen = Counter(run(program, random) for random in range(3 * len(indices)))
    assert chosen == Counter(dict.fromkeys(indices, 3))


def test_a_place_is_chosen_by_its_weight() -> None:
    program = choose_among([(2, 1), (0, 8), (5, 3)])
    assert Counter(run(program, random) for random in range(120)) == {2: 10, 0: 80, 5: 30}


@pytest.mark.parametrize("count", [0, 2048])
def test_what_no_program_can_choose_among_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} members"):
        choose_among(evenly(*range(count)))


def test_a_program_for_two_and_its_bytes() -> None:
    program = choose_among([(7, 3), (9, 1)])
    assert program == [
        (LOAD, 0, 0, RANDOM),
        (MODULO, 0, 0, 4),
        (JUMP_AT_LEAST, 1, 0, 3),
        (RETURN, 0, 0, 7),
        (RETURN, 0, 0, 9),
    ]
    assert len(encode(program)) == 8 * len(program)
    assert encode([(JUMP_AT_LEAST, 1, 0, 3)]) == bytes([0x35, 0, 1, 0, 3, 0, 0, 0])


# The kernel


@linux_only
def test_who_is_left_out_gets_nothing_and_the_others_share_it(group: list[socket.socket]) -> None:
    assert WORKS
    steer(group[0], evenly(0, 2, 3))
    got = ask(group)
    assert got[1] == 0
    assert min(got[at] for at in (0, 2, 3)) > COUNT / 3 / 2.5, "each about a third"


@linux_only
def test_who_weighs_more_gets_more(group: list[socket.socket]) -> None:
    steer(group[0], [(0, 1), (1, 8), (2, 1)])
    got = ask(group)
    assert got[3] == 0
    assert got[1] > COUNT / 2, "four fifths, about"


@linux_only
@pytest.mark.parametrize("by", [0, 3])
def test_any_member_can_set_the_choice_of_all(group: list[socket.socket], by: int) -> None:
    for only in (3, 1, 2):
        steer(group[by], evenly(only))
        assert ask(group, 20) == {only: 20}


@linux_only
def test_the_longest_program_is_taken(group: list[socket.socket]) -> None:
    attach(group[0], choose_among(evenly(*[2] * 2047)))
    assert ask(group, 20) == {2: 20}


@linux_only
@pytest.mark.parametrize("how", ["detach", "no places"])
def test_all_get_connections_again_after_the_end_of_it(
    group: list[socket.socket], how: str
) -> None:
    steer(group[0], evenly(1))
    assert ask(group, 20) == {1: 20}
    for _ in range(2):  # the second time there is nothing to end
        if how == "detach":
            detach(group[2])
        else:
            steer(group[2], [])
    assert min(ask(group)[at] for at in range(4)) > COUNT / 4 / 3, "each about a quarter"


@linux_only
def test_a_socket_that_shares_no_port_has_no_choice_to_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as alone:
        with pytest.raises(OSError, match="Invalid argument"):
            attach(alone, choose_among(evenly(0)))
        detach(alone)
