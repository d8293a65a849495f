"""A short run of the fuzzer over fixed seeds, and the stories that once broke a promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import case as cases
from tests.fuzz.grammar import make
from tests.fuzz.leaks import leaks
from tests.fuzz.play import play

CORPUS = sorted((Path(__file__).parent / "corpus/websocket").glob("*.json"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_broke_a_promise_keeps_it(path: Path) -> None:
    assert play(cases.read(path)) == ""


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_any_bytes_in_any_pieces_break_no_promise(first: int) -> None:
    for seed in range(first, first + 50):
        assert play(make(seed)) == "", f"seed {seed}"


def test_nothing_is_left_of_websockets_and_nothing_waits_for_the_garbage_collector() -> None:
    assert leaks(50, seed=1000, warm_up=20) == []


def test_a_story_is_the_same_when_it_is_read_again() -> None:
    for seed in range(20):
        assert cases.loaded(cases.dumped(make(seed))) == make(seed)
