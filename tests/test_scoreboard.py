"""Connection counts in memory that processes share."""

from __future__ import annotations

import os

from pounce.scoreboard import Scoreboard


def test_records_are_empty_at_first_and_add_up() -> None:
    board = Scoreboard(4)
    assert board.total_connections() == 0
    board.set_connections(0, 3)
    board.set_connections(3, 4)
    assert board.total_connections() == 7
    assert board.connections(3) == 4


def test_a_cleared_record_counts_no_more() -> None:
    board = Scoreboard(2)
    board.set_connections(1, 9)
    board.clear(1)
    assert board.total_connections() == 0


def test_what_a_forked_process_writes_everybody_sees() -> None:
    board = Scoreboard(2)
    pid = os.fork()
    if pid == 0:
        board.set_connections(1, 41)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    board.set_connections(0, 1)
    assert board.total_connections() == 42
