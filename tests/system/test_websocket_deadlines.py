"""Peers of a WebSocket that do not get on: each is given up by the limit that is for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.support.frames import FIN, PING, PONG, TEXT, close, frame, text
from tests.support.memory import Memory
from tests.support.notes import Notes
from tests.support.raw import CLOSED, RESET
from tests.support.server import Server, started
from tests.support.serverlog import PATIENCE
from tests.support.websocket import DEFLATE, WebSocket, opened

SHORT: Final = "0.4"
LOOPS: Final = ["uvloop", "asyncio"]
LIMITS: Final = (
    "--body-timeout",
    "--keep-alive-timeout",
    "--write-timeout",
    "--websocket-ping-interval",
    "--websocket-ping-timeout",
    "--websocket-max-age",
)
ECHOED: Final = (FIN | TEXT, b"x")
PAUSE: Final = 0.05


def only(**limits: str) -> list[str]:
    """Options that leave no limit on but these."""
    given = {f"--{name.replace('_', '-')}": value for name, value in limits.items()}
    every = dict.fromkeys(LIMITS, "0") | {"--body-min-rate": "0"} | given
    return [word for pair in every.items() for word in pair]


def answers(raw: WebSocket) -> None:
    raw.send(text("x"))
    assert raw.frame() == ECHOED


def served(server: Server) -> None:
    with opened(server, "/echo") as other:
        answers(other)


def at_a_slow_pace(act: Callable[[], object], *, until: Callable[[], object]) -> None:
    """What a peer does over and over; it never stops by itself, or that would be a limit."""
    for _ in range(int(PATIENCE / PAUSE)):
        if until():
            return
        act()
        time.sleep(PAUSE)
    raise AssertionError("nobody put an end to it")


# Silence


@pytest.mark.parametrize("loop", LOOPS)
def test_a_silent_peer_is_pinged_and_then_closed_with_1011_and_cut(loop: str, notes: Notes) -> None:
    limits = only(websocket_ping_interval=SHORT, websocket_ping_timeout=SHORT)
    options = ["--loop", loop, "--websocket-close-timeout", SHORT, *limits]
    with (
        started("sockets", *options) as server,
        opened(server, f"/echo?{notes.query}") as raw,
    ):
        first, payload = raw.frame()
        assert first == FIN | PING
        raw.send(frame(FIN | PONG, payload))
        assert raw.frame()[0] == FIN | PING  # it lives, and is asked again
        assert raw.closed() == (1011, "a ping was not answered")
        notes.wait_for("disconnect 1011 a ping was not answered")
        assert raw.end() in (CLOSED, RESET)


def test_an_idle_websocket_is_closed_with_1001_where_nobody_pings(notes: Notes) -> None:
    with (
        started("sockets", *only(keep_alive_timeout=SHORT)) as server,
        opened(server, f"/echo?{notes.query}") as raw,
    ):
        answers(raw)
        assert raw.closed() == (1001, "nothing was said for too long")
        raw.send(close(1001))
        assert raw.end() == CLOSED
        notes.wait_for("disconnect 1001 nothing was said for too long")


@pytest.mark.parametrize("sent", [text("x"), frame(FIN | PING)])
def test_who_says_something_is_not_idle(sent: bytes) -> None:
    with (
        started("sockets", *only(keep_alive_timeout=SHORT)) as server,
        opened(server, "/echo") as raw,
        opened(server, "/echo") as other,
    ):
        heard = 0

        def closed() -> bool:
            other.socket.setblocking(False)
            try:
                return other.socket.recv(1) != b""
            except BlockingIOError:
                return False

        def say() -> None:
            nonlocal heard
            raw.send(sent)
            assert raw.frame()[0] in (FIN | TEXT, FIN | PONG)
            heard += 1

        at_a_slow_pace(say, until=closed)
        assert heard
        answers(raw)


def test_an_idle_websocket_is_left_alone_where_that_is_off() -> None:
    limits = only(keep_alive_timeout=SHORT)
    with (
        started("sockets", *limits, "--no-websocket-idle-close") as server,
        opened(server, "/echo") as raw,
        server.connect() as idle,
    ):
        assert idle.get("/").body == b"hello"
        assert idle.end() == CLOSED  # so much time has passed
        answers(raw)


def test_a_websocket_has_a_lifetime(notes: Notes) -> None:
    with (
        started("sockets", *only(websocket_max_age=SHORT)) as server,
        opened(server, f"/echo?{notes.query}") as raw,
    ):
        frames: list[tuple[int, bytes]] = []

        def say() -> None:
            raw.send(text("x"))
            frames.append(raw.frame())

        at_a_slow_pace(say, until=lambda: frames and frames[-1] != ECHOED)
        assert frames[-1][1][:2] == (1001).to_bytes(2, "big")
        notes.wait_for("disconnect 1001 the time of this WebSocket is over")


# Halves


@pytest.mark.parametrize(
    "half",
    [
        text("x")[:1],
        text("x")[:4],
        text("x" * 1000)[:500],
        frame(TEXT, b"x" * 1000)[:500],
        frame(FIN | PING, b"x" * 100)[:50],
    ],
)
def test_half_a_frame_is_waited_for_no_longer_than_half_a_body(notes: Notes, half: bytes) -> None:
    with (
        started("sockets", *only(body_timeout=SHORT)) as server,
        opened(server, f"/echo?{notes.query}") as raw,
    ):
        raw.send(half)
        assert raw.closed() == (1008, "the rest of a frame did not come in time")
        notes.wait_for("disconnect 1008 the rest of a frame did not come in time")


def test_a_frame_that_drips_is_no_progress() -> None:
    limits = only(body_timeout=SHORT, body_min_rate="1000")
    with started("sockets", *limits) as server, opened(server, "/echo") as raw:
        raw.send(frame(FIN | TEXT, size=1_000_000))

        def told() -> bool:
            raw.socket.setblocking(False)
            try:
                return raw.socket.recv(1) == bytes((FIN | 8,))
            except BlockingIOError:
                return False
            finally:
                raw.socket.settimeout(PATIENCE)

        at_a_slow_pace(lambda: raw.send(b"a"), until=told)


def test_fragments_may_come_slowly_and_silence_between_them_is_no_half_frame() -> None:
    with (
        started("sockets", *only(body_timeout=SHORT)) as server,
        opened(server, "/echo") as raw,
        opened(server, "/echo") as other,
    ):
        raw.send(frame(TEXT, b"x"))
        other.send(text("half")[:3])
        assert other.closed()[0] == 1008  # so much time has passed
        raw.send(frame(FIN | 0))
        assert raw.frame() == ECHOED


def test_who_sends_more_messages_than_the_rate_is_closed_with_1008(notes: Notes) -> None:
    options = [*only(websocket_ping_interval="0.2"), "--websocket-max-rate", "50"]
    with (
        started("sockets", *options) as server,
        opened(server, f"/echo?{notes.query}") as raw,
        opened(server, "/echo") as other,
    ):
        answers(other)
        raw.send(text("x") * 200)
        frames = [ECHOED]
        while frames[-1][0] in (FIN | TEXT, FIN | PING):
            frames.append(raw.frame())
        assert frames[-1][1] == (1008).to_bytes(2, "big") + b"too many messages a second"
        notes.wait_for("disconnect 1008 too many messages a second")
        other.send(text("x"))
        while other.frame() != ECHOED:
            pass


# The end


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_does_not_answer_our_close_is_cut(loop: str, notes: Notes) -> None:
    options = ["--loop", loop, "--websocket-close-timeout", SHORT]
    with (
        started("sockets", *options, *only()) as server,
        opened(server, f"/leave?code=4000&{notes.query}") as raw,
    ):
        raw.send(text("leave"))
        assert raw.closed() == (4000, "")
        notes.wait_for("disconnect 4000")
        assert raw.end() in (CLOSED, RESET)


# Readers


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("fields", [[], [DEFLATE]], ids=["plain", "deflate"])
def test_a_peer_that_stops_reading_is_cut_and_its_application_ends(
    loop: str, notes: Notes, fields: list[str]
) -> None:
    with started("sockets", "--loop", loop, *only(write_timeout=SHORT)) as server:
        served(server)
        memory = Memory(server)
        with opened(server, f"/flood?{notes.query}", *fields, receive_buffer=4096) as raw:
            served(server)
            notes.wait_for("OSError")
            notes.wait_for("ended")
            assert memory.growth() < 2 * 1024 * 1024
            assert len(raw.rest()) < 50_000_000
        served(server)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("fields", [[], [DEFLATE]], ids=["plain", "deflate"])
@pytest.mark.parametrize("what", ["", "&zeros=1"], ids=["random", "zeros"])
def test_a_peer_that_never_reads_and_vanishes_costs_little_and_ends_its_application(
    loop: str, notes: Notes, fields: list[str], what: str
) -> None:
    with started("sockets", "--loop", loop, *only()) as server:
        served(server)
        memory = Memory(server)
        with opened(server, f"/flood?{notes.query}{what}", *fields, receive_buffer=4096):
            for _ in range(20):
                served(server)
            assert memory.growth() < 2 * 1024 * 1024
        notes.wait_for("OSError")
        notes.wait_for("ended")
        served(server)
