"""What a worker that cannot start says of it, whatever letters its error is written in."""

from __future__ import annotations

import socket

import pytest

from pounce import ipc
from pounce.errors import EXIT_LOAD, LoadError
from pounce.worker.worker import Worker


@pytest.mark.parametrize("text", ["short", "\u044f" * 340, "\U0010ffff" * 500])
@pytest.mark.parametrize("trace", ["", "\u044f" * 5000])
def test_a_failure_fits_on_its_line_and_keeps_its_status(text: str, trace: str) -> None:
    master, worker = socket.socketpair()
    with master:
        one = Worker(ipc.Seat(0, 1, 0, worker.detach(), ()))
        assert one.fail(LoadError(text, traceback=trace)) == EXIT_LOAD
        said = ipc.decode(master.recv(2 * ipc.LINE_LIMIT))
        one._control._socket.close()
    assert isinstance(said, ipc.Failed)
    assert said.why
    assert text.startswith(said.why)
    assert trace.endswith(said.trace)
