"""Files by the kernel, over real sockets: the same bytes, also for who reads slowly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from xprocess import XProcess

from tests.support.notes import Notes
from tests.support.raw import request
from tests.support.server import Server, shared

SIZE: Final = 10_000_000


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest, xprocess: XProcess) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", request.param) as one:
        yield one


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.mark.parametrize("receive_buffer", [0, 4096])
def test_a_path_is_sent_whole_with_its_length(
    server: Server, path: Path, receive_buffer: int
) -> None:
    with server.connect(receive_buffer=receive_buffer) as raw:
        answer = raw.get(f"/file?how=pathsend&path={path}")
        assert answer.get("content-length") == str(SIZE)
        assert answer.body == path.read_bytes()
        assert raw.get("/").body == b"hello"


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("", slice(None)),
        ("&offset=1000", slice(1000, None)),
        ("&count=1000", slice(1000)),
        ("&offset=9999999&count=1", slice(9_999_999, None)),
        ("&offset=10000000", slice(0)),
    ],
)
def test_part_of_an_open_file_is_sent(server: Server, path: Path, query: str, part: slice) -> None:
    with server.connect() as raw:
        answer = raw.get(f"/file?how=zerocopysend&path={path}{query}")
        assert answer.body == path.read_bytes()[part]


def test_http_1_0_and_head_get_files_as_well(server: Server, path: Path) -> None:
    with server.connect() as raw:
        raw.send(f"GET /file?how=pathsend&path={path} HTTP/1.0\r\n\r\n".encode())
        assert raw.answer().body == path.read_bytes()
    with server.connect() as raw:
        raw.send(request("HEAD", f"/file?how=pathsend&path={path}"))
        assert raw.answer(method="HEAD").get("content-length") == str(SIZE)
        assert raw.get("/").body == b"hello"


def test_a_client_that_leaves_within_a_file_frees_the_application(
    server: Server, path: Path, notes: Notes
) -> None:
    with server.connect(receive_buffer=4096) as raw:
        raw.send(request("GET", f"/file?how=pathsend&path={path}&{notes.query}"))
        assert raw.head().status == 200
        notes.wait_for("begun")
    notes.wait_for("OSError")


def test_a_pipe_is_a_500_and_does_not_stop_the_worker(server: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with server.connect() as raw:
        assert raw.get(f"/file?how=pathsend&path={tmp_path}/pipe").status == 500
    server.log.expect("^application raised")
    server.log.check()


def test_a_missing_file_is_a_500(server: Server, tmp_path: Path) -> None:
    with server.connect() as raw:
        assert raw.get(f"/file?how=pathsend&path={tmp_path}/nothing").status == 500
    server.log.expect("^application raised")
    server.log.check()
