"""Clients that do not get on: each is given up by the limit that is for it, with the others off."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Final

import pytest
from xprocess import XProcess

from tests.support.notes import Notes
from tests.support.raw import CLOSED, Raw, request
from tests.support.server import Server, shared, started
from tests.support.serverlog import PATIENCE

SHORT: Final = "0.4"
LONGER: Final = "1"  # where a client gets on, slowly, which must not fail on a machine that is busy
GET: Final = request("GET", "/")
LIMITS: Final = (
    "--silent-timeout",
    "--head-timeout",
    "--body-timeout",
    "--keep-alive-timeout",
    "--write-timeout",
)
PAUSE: Final = 0.05  # seconds between two bytes of a client that drips


def only(limit: str, value: str = SHORT, *, rate: int = 0) -> list[str]:
    """Options that leave nothing on but one limit, and the rate that goes with --body-timeout."""
    options = [word for name in LIMITS for word in (name, value if name == limit else "0")]
    return [*options, "--body-min-rate", str(rate)]


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


def at_a_slow_pace(act: Callable[[], object], *, until: Callable[[], object]) -> None:
    """What a slow peer does, over and over; it never stops by itself, or that would be a limit."""
    for _ in range(int(PATIENCE / PAUSE)):
        if until():
            return
        act()
        time.sleep(PAUSE)
    raise AssertionError("nobody put an end to it")


def drip(raw: Raw, data: bytes) -> None:
    """Sends the same again and again until the server says something."""
    at_a_slow_pace(lambda: raw.send(data), until=lambda: is_told_something(raw))


def is_told_something(raw: Raw) -> bool:
    raw.socket.setblocking(False)
    try:
        return raw.socket.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return False
    finally:
        raw.socket.settimeout(PATIENCE)


def refused_408(raw: Raw) -> bool:
    answer = raw.answer()
    return answer.status == 408 and answer.get("connection") == "close" and raw.end() == CLOSED


def test_a_silent_connection_is_closed_without_a_word(silent: Server) -> None:
    with silent.connect() as raw:
        assert raw.end() == CLOSED


def test_an_empty_line_is_no_request_yet(silent: Server) -> None:
    with silent.connect() as raw:
        raw.send(b"\r\n")
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
        raw.send(b"GET / HTTP/1.1\r\nX-Long: ")
        drip(raw, b"a")
        assert refused_408(raw)


def test_empty_lines_that_drip_are_no_head(head: Server) -> None:
    with head.connect() as raw:
        drip(raw, b"\r\n")
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
        drip(raw, b"a")
        assert refused_408(raw)


def test_a_body_that_comes_slowly_but_comes_is_taken(loop: str) -> None:
    options = only("--body-timeout", LONGER, rate=2)
    with started("probe", "--loop", loop, *options) as server, server.connect() as raw:
        raw.send(request("POST", "/digest", "Transfer-Encoding: chunked"))
        for _ in range(2):  # the rate is an average over each limit, not only over the first
            with server.connect() as other:
                other.send(request("POST", "/digest", "Content-Length: 9"))
                at_a_slow_pace(
                    lambda: raw.send(b"1\r\na\r\n"), until=lambda: is_told_something(other)
                )
                assert refused_408(other)
        raw.send(b"0\r\n\r\n")
        assert raw.answer().status == 200


def test_a_body_that_drips_under_the_rate_is_told_408(loop: str, notes: Notes) -> None:
    options = only("--body-timeout", rate=1000)
    with started("probe", "--loop", loop, *options) as server, server.connect() as raw:
        raw.send(request("POST", f"/digest?{notes.query}", "Content-Length: 1000000"))
        # One burst buys little time: what counts is the rate since the last look.
        pieces = chain([b"a"] * 6, [b"a" * 100_000], repeat(b"a"))
        at_a_slow_pace(lambda: raw.send(next(pieces)), until=lambda: is_told_something(raw))
        assert refused_408(raw)
        notes.wait_for("disconnected")


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
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        waiting = [stack.enter_context(idle.connect()) for _ in range(60)]
        for raw in waiting:
            assert raw.get("/").body == b"hello"
            selector.register(raw.socket, selectors.EVENT_READ)
        # One after the other before the limit; the rest, which finds the limit passed, at once when
        # the first of them is closed: before its own FIN, at the same time, or just behind it.
        # A server that has closed both directions would answer that with RST.
        asked = 0
        while asked < len(waiting):
            at_once = bool(selector.select(0.02))
            for raw in waiting[asked:] if at_once else waiting[asked : asked + 1]:
                raw.send(GET)
                selector.unregister(raw.socket)
                asked += 1
        for raw in waiting:
            data = b"".join(iter(raw.line, b""))  # raises where the connection is reset
            if data:
                assert data.startswith(b"HTTP/1.1 200 ")
                assert data.endswith(b"\r\n\r\nhello")
            assert raw.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0, "a late reset"


def test_a_running_request_is_never_idle(idle: Server, notes: Notes) -> None:
    with idle.connect() as raw, idle.connect() as other:
        raw.send(request("GET", f"/hold?{notes.query}"))
        assert other.get("/").body == b"hello"
        assert other.end() == CLOSED
        notes.open_gate()
        assert raw.answer().body == b"held"


def sparse(notes: Notes, size: int) -> str:
    """The target of a file of so many bytes."""
    path = notes.path.with_name("file")
    with path.open("wb") as file:
        file.truncate(size)
    return f"/file?how=pathsend&path={path}&length={size}"


@pytest.mark.parametrize("by", ["application", "kernel"])
def test_a_reader_that_stops_is_closed_and_frees_the_application(
    reader: Server, notes: Notes, by: str
) -> None:
    target = "/flood?" if by == "application" else f"{sparse(notes, 50_000_000)}&"
    with reader.connect(receive_buffer=4096) as raw:
        raw.send(request("GET", f"{target}{notes.query}"))
        notes.wait_for("OSError")
        assert len(raw.rest()) < 50_000_000


@pytest.mark.parametrize("by", ["application", "kernel"])
def test_a_reader_that_reads_slowly_gets_it_all(loop: str, notes: Notes, by: str) -> None:
    size = 5_000_000
    target = f"/big?size={size}" if by == "application" else sparse(notes, size)
    options = only("--write-timeout", LONGER)
    with (
        started("probe", "--loop", loop, *options) as server,
        server.connect(receive_buffer=4096) as raw,
        server.connect(receive_buffer=4096) as other,
    ):
        raw.send(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        assert raw.head().status == 200
        other.send(request("GET", f"/flood?{notes.query}"))
        got = 0

        def read_a_little() -> None:
            nonlocal got
            got += len(raw.read(1024))

        # The kernel holds megabytes for a reader: that it takes no more of us is not that it waits.
        at_a_slow_pace(read_a_little, until=lambda: "OSError" in notes.lines())
        assert got + len(raw.rest()) == size
