"""How a server ends: what it lets finish, what it cuts, and what it leaves behind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from typing import Final

import pytest

from tests.support.notes import Notes
from tests.support.raw import CLOSED, Address, Raw, request
from tests.support.server import group_exists, started
from tests.support.serverlog import wait_until

LOOPS: Final = ["uvloop", "asyncio"]
MANY: Final = "600"  # seconds; no test waits for it
SIZE: Final = 20_000_000  # bytes, more than the buffers between server and client hold


def refuses(address: Address) -> bool:
    try:
        Raw(address).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the queue of a listener that went
        pass
    return False


@pytest.fixture
def lives(tmp_path: Path) -> Notes:
    """What the lifespans of the workers have noted."""
    (tmp_path / "lifespan").mkdir()
    return Notes(tmp_path / "lifespan")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_lets_all_that_is_in_flight_finish(
    workers: int, loop: str, notes: Notes, lives: Notes
) -> None:
    environment = {"PROBE_NOTES": str(lives.path)}
    options = ("--workers", str(workers), "--loop", loop, "--shutdown-timeout", MANY)
    with started("probe", *options, env=environment) as server, contextlib.ExitStack() as stack:

        def connect(first: bytes, *, receive_buffer: int = 0) -> Raw:
            raw = stack.enter_context(server.connect(receive_buffer=receive_buffer))
            raw.send(first)
            return raw

        slow = connect(request("GET", f"/hold?{notes.query}"))
        streaming = connect(request("GET", f"/stream?{notes.query}"))
        download = connect(request("GET", f"/big?size={SIZE}&{notes.query}"), receive_buffer=4096)
        upload = connect(request("POST", f"/digest?{notes.query}", "Content-Length: 9") + b"first")
        notes.wait_for("begun", times=4)
        notes.wait_for("piece")
        idle = connect(b"")
        assert idle.get("/").body == b"hello"
        half = connect(b"")
        assert half.get("/").body == b"hello"
        half.send(b"GET / HTTP/1.1\r\n")

        server.signal(SIGTERM)
        assert idle.end() == CLOSED
        wait_until(lambda: refuses(server.addresses[0]), "the end of listening")
        assert server.process.poll() is None
        notes.open_gate()
        half.send(b"Host: x\r\n\r\n")
        upload.send(b"last")
        for raw, body in ((slow, b"held"), (streaming, b"firstlast"), (half, b"hello")):
            answer = raw.answer()
            assert answer.body == body
            assert answer.get("connection") == ("close" if raw is not streaming else None)
            assert raw.end() == CLOSED
        assert upload.answer().body.startswith(b"9 ")
        assert len(download.answer().body) == SIZE
        assert server.wait() == 0
        assert lives.lines().count("lifespan.shutdown") == workers
        assert lives.lines().count("lifespan.startup") == workers


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_signal_hurries(loop: str, notes: Notes, lives: Notes) -> None:
    options = ("--workers", "2", "--loop", loop, "--shutdown-timeout", MANY)
    environment = {"PROBE_NOTES": str(lives.path)}
    with started("probe", *options, env=environment) as server, server.connect() as raw:
        raw.send(request("GET", f"/hold?{notes.query}"))
        notes.wait_for("begun")
        server.signal(SIGTERM)
        server.log.wait_for("^stopping ")
        server.signal(SIGTERM)
        server.log.expect("told to stop again", "cutting what is left")
        assert server.wait() == 0
        assert notes.lines() == ["begun", "cancelled"]
        assert lives.lines().count("lifespan.shutdown") == 2


def test_a_third_signal_kills(notes: Notes) -> None:
    options = ("--workers", "2", "--shutdown-timeout", MANY)
    with started("probe", *options) as server, server.connect() as raw:
        raw.send(request("GET", f"/block?{notes.query}"))
        notes.wait_for("begun")
        server.signal(SIGTERM)
        server.log.wait_for("^stopping ")
        server.signal(SIGTERM)
        server.log.wait_for("told to stop again")
        server.signal(SIGTERM)
        server.log.expect("told to stop again", "killing the workers")
        assert server.wait() == 0


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/hold", ["cutting what is left"]),
        ("/stubborn", ["cutting what is left"]),
        ("/block", ["worker does not go, killing it"]),
    ],
)
def test_an_application_that_does_not_end_is_cut_at_the_shutdown_timeout(
    path: str, expected: list[str], loop: str, notes: Notes, lives: Notes
) -> None:
    options = ("--loop", loop, "--shutdown-timeout", "0.3")
    environment = {"PROBE_NOTES": str(lives.path)}
    with started("probe", *options, env=environment) as server, server.connect() as raw:
        raw.send(request("GET", f"{path}?{notes.query}"))
        notes.wait_for("begun")
        server.signal(SIGTERM)
        server.log.expect(*expected)
        assert server.wait() == 0
        assert raw.rest() == b""
    assert ("lifespan.shutdown" in lives.lines()) is (path != "/block")


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_to_the_whole_group_ends_it_once_and_starts_nobody(
    loop: str, number: Signals, notes: Notes, lives: Notes
) -> None:
    options = ("--workers", "4", "--loop", loop, "--log-level", "debug")
    environment = {"PROBE_NOTES": str(lives.path)}
    with started("probe", *options, env=environment) as server, server.connect() as raw:
        raw.send(request("GET", f"/hold?{notes.query}"))
        notes.wait_for("begun")
        server.signal_group(number)
        server.log.wait_for("^stopping ")
        notes.open_gate()
        assert raw.answer().body == b"held"
        assert server.wait() == 0
        assert len(server.log.find("forked a worker")) == 4
        assert len(server.log.find("worker is gone .* status=0")) == 4
    assert lives.lines().count("lifespan.startup") == 4
    assert lives.lines().count("lifespan.shutdown") == 4


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
@pytest.mark.parametrize(("preload", "imports"), [("auto", 1), ("off", 2)])
def test_a_signal_before_the_workers_have_booted_ends_it(
    preload: str, imports: int, number: Signals, tmp_path: Path
) -> None:
    notes = Notes(tmp_path)
    (tmp_path / "slow_to_import.py").write_text(
        f"import os, time\nopen({str(notes.path)!r}, 'a').write('begun\\n')\ntime.sleep(600)\n"
    )
    options = ("--workers", "2", "--app-dir", str(tmp_path), "--preload", preload)
    with started("slow_to_import:app", *options, serving=False) as server:
        notes.wait_for("begun", times=imports)
        server.signal_group(number)
        assert server.wait() == 0
        assert not server.log.find("serving on")
        assert not server.log.find("killing it"), "who is still importing goes at once"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("busy", [False, True])
def test_the_death_of_the_master_ends_the_workers_and_frees_the_port(
    busy: bool, workers: int, notes: Notes
) -> None:
    with started("probe", "--workers", str(workers)) as server, contextlib.ExitStack() as stack:
        if busy:  # a worker that cannot even hear of it
            raw = stack.enter_context(server.connect())
            raw.send(request("GET", f"/block?{notes.query}"))
            notes.wait_for("begun")
        server.signal(SIGKILL)
        assert server.process.wait() == -SIGKILL
        wait_until(lambda: not group_exists(server.pid), "the end of the workers")
        if not busy or workers > 1:
            server.log.expect("master is gone, draining")
        with started("probe", "--port", str(server.port)) as other:
            assert other.curl("/") == b"hello"


def test_what_is_in_flight_when_the_master_dies_may_finish(notes: Notes) -> None:
    with started("probe") as server, server.connect() as raw:
        raw.send(request("POST", f"/digest?{notes.query}", "Content-Length: 9") + b"first")
        notes.wait_for("piece")
        server.signal(SIGKILL)
        raw.send(b"last")
        assert raw.answer().body.startswith(b"9 ")
        raw.close()
        server.process.wait()
        wait_until(lambda: not group_exists(server.pid), "the end of the worker")
        server.log.expect("master is gone, draining")
