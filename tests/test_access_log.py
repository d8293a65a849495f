"""Access lines: their two forms, what leaves them out, and writers that nobody reads."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pounce import access_log
from pounce.access_log import BATCH, AccessLog, LineWriter


@dataclass
class Answered:
    """What a line says of a response."""

    target: bytes = b"/a?b=c"
    method: str = "GET"
    version: str = "1.1"
    status: int = 200
    sent: int = 13
    begun: float = 0.0
    client: str = "192.0.2.1:99"
    head: Any = field(init=False)

    def __post_init__(self) -> None:
        self.head = (1, self.method, self.target, self.version)


@dataclass
class Deflated:
    """What compression has made of a WebSocket's messages."""

    plain_to_packed: float

    def ratio(self) -> float:
        return self.plain_to_packed


@dataclass
class Talked(Answered):
    """What a line says of a WebSocket."""

    target: bytes = b"/chat?b=c"
    status: int = 101
    sent: int = 456
    code: int = 1006
    received: int = 123
    messages_received: int = 4
    messages_sent: int = 5
    compression: Deflated | None = None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def log_to(path: Path, **more: Any) -> AccessLog:
    return AccessLog(LineWriter(str(path)), worker=7, **{"form": "text", **more})


def lines(log: AccessLog, path: Path) -> list[str]:
    assert log.flush() == 0
    return path.read_text("ascii").splitlines()


def test_a_text_line_has_all_its_parts(path: Path) -> None:
    log = log_to(path)
    log.set_time(0.0)
    log.add(Answered())
    (line,) = lines(log, path)
    parts = line.split(" ")
    assert parts[:6] == [
        "1970-01-01T00:00:00Z",
        "192.0.2.1:99",
        '"GET',
        "/a?b=c",
        'HTTP/1.1"',
        "200",
    ]
    assert parts[6] == "13B"
    assert parts[7].endswith("us")
    assert parts[8:] == ["worker=7"]


def test_a_json_line_is_one_object(path: Path) -> None:
    log = log_to(path, form="json")
    log.add(Answered(target=b'/"\\{}'))
    (line,) = lines(log, path)
    said = json.loads(line)
    assert said.pop("time").endswith("Z")
    assert said.pop("duration_us") > 0
    assert said == {
        "client": "192.0.2.1:99",
        "method": "GET",
        "target": '/"\\{}',
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 13,
        "worker": 7,
    }


@pytest.mark.parametrize(
    ("compression", "said"),
    [(None, ""), (Deflated(0.0), ""), (Deflated(3.14159), " deflate=3.14")],
    ids=["not agreed", "not used", "used"],
)
def test_a_websocket_has_a_text_line_with_more_parts(
    compression: Deflated | None, said: str, path: Path
) -> None:
    log = log_to(path)
    log.set_time(0.0)
    log.add_websocket(Talked(compression=compression))
    (line,) = lines(log, path)
    head, duration, rest = line.split(" ", 7)[:6], line.split(" ")[7], line.split(" ", 8)[8]
    assert " ".join(head) == '1970-01-01T00:00:00Z 192.0.2.1:99 "GET /chat?b=c HTTP/1.1" 101'
    assert line.split(" ")[6] == "456B"
    assert duration.endswith("us")
    assert rest == f"worker=7 close=1006 received=4/123B sent=5/456B{said}"


@pytest.mark.parametrize(
    ("compression", "said"),
    [(None, None), (Deflated(0.0), None), (Deflated(3.14159), 3.14)],
    ids=["not agreed", "not used", "used"],
)
def test_a_websocket_has_a_json_line_with_more_fields(
    compression: Deflated | None, said: float | None, path: Path
) -> None:
    log = log_to(path, form="json")
    log.add_websocket(Talked(target=b'/"\\{}', compression=compression))
    (line,) = lines(log, path)
    told = json.loads(line)
    assert told.pop("time").endswith("Z")
    assert told.pop("duration_us") > 0
    assert told == {
        "client": "192.0.2.1:99",
        "method": "GET",
        "target": '/"\\{}',
        "protocol": "HTTP/1.1",
        "status": 101,
        "bytes": 456,
        "worker": 7,
        "close_code": 1006,
        "messages_received": 4,
        "bytes_received": 123,
        "messages_sent": 5,
        "deflate_ratio": said,
    }


def test_lines_of_websockets_and_responses_come_in_the_order_of_their_ends(path: Path) -> None:
    log = log_to(path)
    woken: list[int] = []
    log.set_wake(lambda: woken.append(1))
    log.add_websocket(Talked())
    assert woken == [1], "a WebSocket alone is flushed too"
    log.add(Answered(target=b"/a"))
    log.add_websocket(Talked())
    log.add(Answered(target=b"/b"))
    targets = [line.split(" ")[3] for line in lines(log, path)]
    assert targets == ["/chat?b=c", "/a", "/chat?b=c", "/b"]


def test_a_quote_in_a_target_cannot_end_the_request_part(path: Path) -> None:
    log = log_to(path)
    log.add(Answered(target=b'/x"HTTP/1.1"200'))
    log.add_websocket(Talked(target=b'/x"HTTP/1.1"200'))
    for line in lines(log, path):
        assert line.count('"') == 2


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_refusal_has_a_line_without_a_request(path: Path, form: str) -> None:
    log = log_to(path, form=form)
    log.add_refused(400, "192.0.2.1:99")
    (line,) = lines(log, path)
    if form == "json":
        assert json.loads(line)["status"] == 400
    else:
        assert ' "-" 400 0B 0us ' in line


def test_excluded_paths_have_no_line(path: Path) -> None:
    log = log_to(path, exclude=("/healthz", "/static/*"))
    for target in (b"/healthz", b"/healthz?x", b"/healthz2", b"/static/a", b"/static", b"/"):
        log.add(Answered(target=target))
        log.add_websocket(Talked(target=target))
    shown = [line.split(" ")[3] for line in lines(log, path)]
    assert shown == ["/healthz2", "/healthz2", "/static", "/static", "/", "/"]


def test_the_first_line_of_a_batch_wakes_who_flushes(path: Path) -> None:
    log = log_to(path)
    woken: list[int] = []
    log.set_wake(lambda: woken.append(1))
    log.add(Answered())
    log.add(Answered())
    assert woken == [1]
    log.flush()
    assert not log.writer.holding
    log.add(Answered())
    assert woken == [1, 1]


def test_a_full_batch_is_made_into_lines_and_keeps_its_order(path: Path) -> None:
    log = log_to(path)
    for at in range(BATCH):
        log.add(Answered(target=b"/%d" % at))
    assert len(log.writer.lines) == BATCH
    log.add(Answered(target=b"/last"))
    log.add_refused(400, "-")
    targets = [line.split(" ")[3] for line in lines(log, path)]
    assert targets == [*(f"/{at}" for at in range(BATCH)), "/last", "400"]


def test_a_file_that_was_moved_away_is_opened_anew(path: Path) -> None:
    log = log_to(path)
    log.add(Answered(target=b"/old"))
    log.flush()
    moved = path.with_suffix(".1")
    path.rename(moved)
    log.writer.reopen()
    log.add(Answered(target=b"/new"))
    assert "/new" in lines(log, path)[0]
    assert "/old" in moved.read_text("ascii")


def test_lines_are_added_to_what_is_there(path: Path) -> None:
    path.write_text("before\n")
    log = log_to(path)
    log.add(Answered())
    assert lines(log, path)[0] == "before"


# Standard output of each kind


@pytest.fixture
def stdout() -> Iterator[Any]:
    """Puts a descriptor in the place of standard output."""
    before = os.dup(1)

    def put(descriptor: int) -> None:
        os.dup2(descriptor, 1)

    yield put
    os.dup2(before, 1)
    os.close(before)


def test_a_pipe_that_nobody_reads_never_blocks_and_drops_only_past_its_bound(
    stdout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "HELD_LIMIT", 100_000)
    read_end, write_end = os.pipe()
    stdout(write_end)
    writer = LineWriter("-")
    line = "x" * 99 + "\n"
    for _ in range(100):
        writer.lines += [line] * 100
        assert writer.flush() == 0
    assert writer.dropped > 0
    assert os.get_blocking(write_end), "who shares the pipe must not find it changed"
    os.set_blocking(read_end, False)
    taken, dropped = b"", 0
    while writer.holding:
        taken += os.read(read_end, 1 << 20)
        dropped += writer.flush()
    with contextlib.suppress(BlockingIOError):
        while True:
            taken += os.read(read_end, 1 << 20)
    assert taken == line.encode() * (10_000 - dropped)
    assert 0 < dropped < 10_000
    os.close(read_end)
    os.close(write_end)


def test_a_pipe_whose_reader_has_gone_costs_the_lines_and_nothing_else(stdout: Any) -> None:
    read_end, write_end = os.pipe()
    stdout(write_end)
    writer = LineWriter("-")
    os.close(read_end)
    writer.lines += ["a\n", "b\n"]
    assert writer.flush() == 2
    os.close(write_end)


def test_a_socket_is_written_to_without_waiting(stdout: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stdout(theirs.fileno())
        writer = LineWriter("-")
        writer.lines.append("hello\n")
        assert writer.flush() == 0
        assert ours.recv(100) == b"hello\n"
        writer.lines += ["x" * 1000 + "\n"] * 2000
        writer.flush()
        assert writer.holding
        writer.close()


def test_a_file_as_standard_output_is_shared_with_who_has_it(stdout: Any, path: Path) -> None:
    with path.open("wb") as file:
        stdout(file.fileno())
        writer = LineWriter("-")
        writer.lines.append("one\n")
        writer.flush()
        os.write(1, b"two\n")
        writer.reopen()
        writer.lines.append("three\n")
        writer.flush()
    assert path.read_text() == "one\ntwo\nthree\n"


def test_a_full_disk_costs_the_lines_and_nothing_else() -> None:
    writer = LineWriter("/dev/full")
    writer.lines.append("lost\n")
    assert writer.flush() == 1
    assert not writer.holding


def test_a_pipe_that_cannot_be_opened_anew_is_written_to_as_it_is(
    stdout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def refuses(path: str, *rest: Any) -> int:
        if path == "/proc/self/fd/1":
            raise PermissionError(13, "Permission denied")
        return really_open(path, *rest)

    read_end, write_end = os.pipe()
    stdout(write_end)
    monkeypatch.setattr(os, "open", refuses)
    writer = LineWriter("-")
    writer.lines.append("hello\n")
    assert writer.flush() == 0
    assert os.read(read_end, 100) == b"hello\n"
    writer.close()
    os.close(read_end)
    os.fstat(write_end)  # not the one it was born with
    os.close(write_end)


def test_a_reopen_that_fails_keeps_the_file_it_has(path: Path) -> None:
    folder = path.with_name("folder")
    folder.mkdir()
    log = log_to(folder / "log")
    moved = folder.rename(path.with_name("moved"))
    with pytest.raises(OSError, match="No such file"):
        log.writer.reopen()
    log.add(Answered())
    assert len(lines(log, moved / "log")) == 1


def test_a_closed_writer_gives_its_descriptor_back(path: Path) -> None:
    writer = LineWriter(str(path))
    descriptor = writer._descriptor
    writer.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


def test_lines_of_two_workers_on_one_pipe_never_mix(stdout: Any) -> None:
    read_end, write_end = os.pipe()
    stdout(write_end)
    writers = [LineWriter("-"), LineWriter("-")]
    os.set_blocking(read_end, False)
    got = b""
    for writer, letter in zip(writers, "ab", strict=True):
        writer.lines += [letter * 599 + "\n"] * 500
    while any(writer.holding for writer in writers):
        for writer in writers:
            writer.flush()
        got += os.read(read_end, 1 << 20)
    with contextlib.suppress(BlockingIOError):
        while True:
            got += os.read(read_end, 1 << 20)
    assert sorted(got.decode().splitlines()) == ["a" * 599] * 500 + ["b" * 599] * 500
    for writer in writers:
        writer.close()
    os.close(read_end)
    os.close(write_end)


def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        LineWriter(str(tmp_path / "no" / "where"))
