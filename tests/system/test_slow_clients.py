"""Clients that do not get on: each is given up by the limit that is for it, with the others off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import pytest
from xprocess import XProcess

from tests.support.notes import Notes
from tests.support.raw import CLOSED, Raw, request
from tests.support.server import Server, shared, started

SHORT: Final = "0.4"
LIMITS: Final = (
    "--silent-timeout",
    "--head-timeout",
    "--body-timeout",
    "--keep-alive-timeout",
    "--write-timeout",
)
PAUSE: Final = 0.05  # seconds between two bytes of a client that drips


def only(limit: str) -> list[str]:
    """Options that leave nothing on but one limit."""
    options = [word for name in LIMITS for word in (name, SHORT if name == limit else "0")]
    return [*options, "--body-min-rate", "0"]


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def silent(xprocess: XProcess, loop: str) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", loop, *only("--silent-timeout")) as server:
        yield server


@pytest.fixture(scope="module")
def head(xprocess: XProcess, loop: str) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", loop, *only("--head-timeout")) as server:
        yield server


@pytest.fixture(scope="module")
def body(xprocess: XProcess, loop: str) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", loop, *only("--body-timeout")) as server:
        yield server


@pytest.fixture(scope="module")
def idle(xprocess: XProcess, loop: str) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", loop, *only("--keep-alive-timeout")) as server:
        yield server


@pytest.fixture(scope="module")
def reader(xprocess: XProcess, loop: str) -> Iterator[Server]:
    with shared(xprocess, "probe", "--loop", loop, *only("--write-timeout")) as server:
        yield server


def refused_408(raw: Raw) -> bool:
    answer = raw.answer()
    return answer.status == 408 and answer.get("connection") == "close" and raw.end() == CLOSED


def test_a_silent_connection_is_closed_without_a_word(silent: Server) -> None:
    with silent.connect() as raw:
        assert raw.end() == CLOSED


def test_a_connection_that_has_spoken_is_not_silent(silent: Server) -> None:
    with silent.connect() as raw, silent.connect() as other:
        assert raw.get("/").body == b"hello"
        assert other.end() == CLOSED  # so much time has passed
        assert raw.get("/").body == b"hello"


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_stops_is_told_408(head: Server, begun: bytes) -> None:
    with head.connect() as raw:
        raw.send(begun)
        assert refused_408(raw)


def test_a_head_that_drips_is_told_408(head: Server) -> None:
    with head.connect() as raw:
        raw.drip(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 1000, PAUSE)
        assert refused_408(raw)


def test_empty_lines_that_drip_are_no_head(head: Server) -> None:
    with head.connect() as raw:
        raw.drip(b"\r\n" * 1000, PAUSE)
        assert raw.answer().status in (400, 408)
        assert raw.end() == CLOSED


def test_a_second_head_has_its_limit_as_well(head: Server) -> None:
    with head.connect() as raw:
        assert raw.get("/").body == b"hello"
        raw.send(b"GET / HT")
        assert refused_408(raw)


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        (["Content-Length: 9"], b""),
        (["Content-Length: 9"], b"half"),
        (["Transfer-Encoding: chunked"], b""),
        (["Transfer-Encoding: chunked"], b"4\r\nha"),
    ],
)
def test_a_body_that_stops_is_told_408_and_the_application_that_it_ended(
    body: Server, notes: Notes, fields: list[str], sent: bytes
) -> None:
    with body.connect() as raw:
        raw.send(request("POST", f"/digest?{notes.query}", *fields) + sent)
        notes.wait_for("begun")
        assert refused_408(raw)
        notes.wait_for("disconnected")


def test_a_chunk_extension_that_drips_is_no_body(body: Server, notes: Notes) -> None:
    with body.connect() as raw:
        raw.send(request("POST", f"/digest?{notes.query}", "Transfer-Encoding: chunked") + b"4;")
        raw.drip(b"a" * 1000, PAUSE)
        assert refused_408(raw)


def test_a_body_that_comes_slowly_but_comes_is_taken(body: Server, notes: Notes) -> None:
    with body.connect() as raw, body.connect() as other:
        other.send(request("POST", f"/digest?{notes.query}", "Content-Length: 9"))
        raw.send(request("POST", "/digest", "Content-Length: 30"))
        raw.drip(b"a" * 30, PAUSE)  # in all longer than what gives the other up
        assert raw.answer().body.startswith(b"30 ")
        assert refused_408(other)


def test_a_body_that_drips_under_the_rate_is_told_408() -> None:
    options = [*only("--body-timeout")[:-1], "1000"]
    with started("probe", *options) as server, server.connect() as raw:
        raw.send(request("POST", "/digest", "Content-Length: 1000"))
        raw.drip(b"a" * 1000, PAUSE)
        assert refused_408(raw)


def test_an_application_that_does_not_read_is_not_the_clients_fault(
    body: Server, notes: Notes
) -> None:
    with body.connect() as raw, body.connect() as other:
        raw.send(request("POST", f"/hold?{notes.query}", "Content-Length: 9") + b"all of it")
        other.send(request("POST", "/digest", "Content-Length: 9"))
        assert refused_408(other)
        notes.open_gate()
        assert raw.answer().body == b"held"


def test_an_idle_connection_is_closed_cleanly(idle: Server) -> None:
    with idle.connect() as raw:
        for _ in range(3):
            assert raw.get("/").body == b"hello"
        assert raw.end() == CLOSED


def test_a_request_at_the_moment_of_the_idle_close_is_answered_or_finds_a_clean_end(
    idle: Server,
) -> None:
    for step in range(20):
        with idle.connect() as raw, idle.connect() as clock:
            assert clock.get("/").body == b"hello"
            assert raw.get("/").body == b"hello"
            clock.socket.settimeout(0.3 + step * 0.02)
            with contextlib.suppress(TimeoutError):
                clock.socket.recv(1)  # about as long as the limit, a little more each time
            raw.send(request("GET", "/"))
            assert raw.rest()[:12] in (b"", b"HTTP/1.1 200"), "never half an answer"


def test_a_running_request_is_never_idle(idle: Server, notes: Notes) -> None:
    with idle.connect() as raw, idle.connect() as other:
        raw.send(request("GET", f"/hold?{notes.query}"))
        assert other.get("/").body == b"hello"
        assert other.end() == CLOSED
        notes.open_gate()
        assert raw.answer().body == b"held"


def test_a_reader_that_stops_frees_the_application(reader: Server, notes: Notes) -> None:
    with reader.connect(receive_buffer=4096) as raw:
        raw.send(request("GET", f"/flood?{notes.query}"))
        notes.wait_for("OSError")


def test_a_reader_that_stops_within_a_file_frees_the_application(
    reader: Server, notes: Notes
) -> None:
    path = notes.path.with_name("file")
    with path.open("wb") as file:
        file.truncate(50_000_000)
    target = f"/file?how=pathsend&path={path}&length=50000000&{notes.query}"
    with reader.connect(receive_buffer=4096) as raw:
        raw.send(request("GET", target))
        notes.wait_for("OSError")


def test_a_reader_that_reads_slowly_gets_it_all(reader: Server) -> None:
    size = 3_000_000
    with reader.connect(receive_buffer=4096) as raw, reader.connect(receive_buffer=4096) as other:
        other.send(request("GET", "/flood"))
        raw.send(request("GET", f"/big?size={size}"))
        got = 0
        head = raw.head()
        assert head.get("transfer-encoding") == "chunked"
        for chunk in raw.chunks():
            got += len(chunk)
            raw.socket.settimeout(60)
        assert got == size
