"""Who loses its master ends, also when it cannot hear that."""

from __future__ import annotations

import os
import socket
import time

from pounce.errors import EXIT_CRASH
from pounce.orphan import die_with_master
from pounce.supervisor.process import decode, fork

LONG = 600.0


def nothing() -> None:
    pass


def blocked(control: socket.socket) -> int:
    die_with_master(control.fileno(), grace_s=0.0)
    control.close()  # the worker may close its own end; that is not the master's death
    time.sleep(LONG)
    return 0


def test_a_blocked_process_ends_after_the_other_end_has_closed() -> None:
    ours, theirs = socket.socketpair()

    def main() -> int:
        ours.close()
        return blocked(theirs)

    pid = fork(main, first=nothing)
    theirs.close()
    ours.close()
    assert decode(*os.waitpid(pid, 0)).status == EXIT_CRASH


def test_words_of_the_master_are_not_its_end_and_are_left_for_the_worker() -> None:
    ours, theirs = socket.socketpair()

    def main() -> int:
        ours.close()
        die_with_master(theirs.fileno(), grace_s=0.0)
        words = theirs.recv(100)
        return 7 if words == b"go\n" else 8

    pid = fork(main, first=nothing)
    ours.send(b"go\n")
    assert decode(*os.waitpid(pid, 0)).status == 7
    ours.close()
    theirs.close()
