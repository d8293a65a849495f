"""What a real server shows of its WebSockets: access lines, counts, and what is left of a drain."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.raw import request
from tests.support.server import Server, started
from tests.support.serverlog import PATIENCE, wait_until
from tests.system.test_ctl import NO_PROBATION, Operator, served

TEXT: Final = "the same again " * 100
ONE: Final = ("--workers", "1")
ASKS: Final = request(
    "GET", "/whoami", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)  # fmt: skip


@contextlib.contextmanager
def talk(
    server: Server, path: str = "/", *, compression: str | None = None
) -> Iterator[ClientConnection]:
    """A WebSocket."""
    url = f"ws://127.0.0.1:{server.port}{path}"
    with connect(url, compression=compression, proxy=None, open_timeout=PATIENCE) as one:
        yield one


def echoed(one: ClientConnection, text: str = "hello", *, times: int = 1) -> None:
    for _ in range(times):
        one.send(text)
        assert one.recv(timeout=PATIENCE) == text


def lose(one: ClientConnection) -> None:
    """Without a word: even what was sent is not waited for."""
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.socket.shutdown(socket.SHUT_RDWR)
    one.socket.close()


def lines(path: Path, number: int) -> list[str]:
    """That many lines, as soon as they are there."""

    def read() -> list[str]:
        return path.read_text("ascii").splitlines() if path.exists() else []

    wait_until(lambda: len(read()) >= number, f"{number} access lines")
    assert len(read()) == number
    return read()


def websockets(operator: Operator) -> dict[str, Any]:
    """The counts of all workers since the server began."""
    counts: dict[str, Any] = operator.status()["totals"]["websockets"]
    return counts


def counted(operator: Operator, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    wait_until(lambda: holds(websockets(operator)), "a heartbeat that says so")
    return websockets(operator)


# Access lines


def test_each_websocket_has_a_line_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    options = ("--access-log-file", str(path), "--access-log-exclude", "/quiet")
    with started("talk", *ONE, *options) as server:
        with talk(server, "/quiet") as quiet:
            echoed(quiet)
        with talk(server, "/a?b=c") as one:
            echoed(one, times=2)
            own = f"127.0.0.1:{one.socket.getsockname()[1]}"
            assert not path.exists() or path.read_text() == ""
        (first,) = lines(path, 1)
        (pid,) = server.workers()
        # Two messages of 5 bytes in frames with 2 bytes of head, the client's with a mask of 4;
        # then a Close with a code.
        assert re.fullmatch(
            rf'\S+Z {own} "GET /a\?b=c HTTP/1.1" 101 18B \d+us worker={pid} '
            r"close=1000 received=2/30B sent=2/18B",
            first,
        )
        with talk(server, "/b") as one:
            one.send("close 4001")
            with pytest.raises(Exception, match="4001"):
                one.recv(timeout=PATIENCE)
        assert " close=4001 received=1/" in lines(path, 2)[1]
        with talk(server, "/c") as one:
            echoed(one)
            lose(one)
        assert " close=1006 received=1/11B sent=1/7B" in lines(path, 3)[2]
        with pytest.raises(InvalidStatus), talk(server, "/deny"):
            pass
        assert re.search(r'"GET /deny HTTP/1.1" 403 \d+B \d+us worker=\d+$', lines(path, 4)[3])


@pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "deflate"])
def test_a_line_says_how_well_messages_were_compressed(
    compression: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    with started("talk", "--access-log-file", str(path)) as server:
        with talk(server, compression=compression) as one:
            echoed(one, TEXT, times=3)
        (line,) = lines(path, 1)
    found = re.search(r" received=3/(\d+)B sent=3/\d+B(?: deflate=([\d.]+))?$", line)
    assert found, line
    received, ratio = found.groups()
    if compression is None:
        assert int(received) > 3 * len(TEXT)
        assert ratio is None
    else:
        assert int(received) < len(TEXT) / 2
        assert float(ratio) > 10


# Counts


def test_the_status_counts_open_ones_and_what_they_have_said(tmp_path: Path) -> None:
    with served(tmp_path, "talk", *ONE) as (server, operator):
        assert websockets(operator)["opened"] == 0
        assert " ws " not in operator.ctl("status")
        with talk(server) as one, talk(server, compression="deflate") as other:
            echoed(one, times=3)
            echoed(other, TEXT)
            counts = counted(operator, lambda said: said["messages_sent"] == 4)
            assert (counts["open"], counts["opened"], counts["closed"]) == (2, 2, {})
            assert counts["messages_received"] == 4
            # 3 frames of 5 bytes and their heads; of the fourth, at most as much as is compressed.
            assert 33 < counts["bytes_received"] < 33 + len(TEXT) / 2
            assert 21 < counts["bytes_sent"] < 21 + len(TEXT) / 2
            assert counts["deflate_ratio"] > 10
            (worker,) = operator.status()["workers"]
            assert worker["websockets"] == counts
            assert (worker["connections"], worker["in_flight"]) == (2, 0)
            screen = operator.ctl("status")
            assert re.search(r" conns +ws ", screen)
            assert "websockets 2 open, 2 in all" in screen
            one.close(4123)
            lose(other)
            counts = counted(operator, lambda said: said["open"] == 0)
            assert counts["closed"] == {"1006": 1, "4xxx": 1}
            assert counts["opened"] == 2
        assert "closed with 1006: 1  4xxx: 1" in operator.ctl("status")


def test_a_denied_websocket_is_a_request_and_nothing_more(tmp_path: Path) -> None:
    with served(tmp_path, "talk", *ONE) as (server, operator):
        with pytest.raises(InvalidStatus), talk(server, "/deny"):
            pass
        wait_until(lambda: operator.status()["totals"]["requests"] == 1, "it is counted")
        assert websockets(operator)["opened"] == 0


def test_what_a_worker_counted_outlives_it(tmp_path: Path) -> None:
    options = (*NO_PROBATION, "--websocket-drain", "close", "--shutdown-timeout", "2")
    with served(tmp_path, "talk", *ONE, *options) as (server, operator):
        with talk(server) as one, talk(server) as other:
            echoed(one, times=2)
            counted(operator, lambda said: said["messages_sent"] == 2)
            operator.ctl("reload", "--wait")
            for each in (one, other):  # both are told to come again, and do not
                with pytest.raises(Exception, match="1012"):
                    each.recv(timeout=PATIENCE)
        wait_until(lambda: len(operator.status()["workers"]) == 1, "the old worker's end")
        counts = websockets(operator)
        assert (counts["open"], counts["opened"], counts["messages_sent"]) == (0, 2, 2)
        assert counts["closed"] == {"1012": 2}
        with talk(server) as third:
            echoed(third)
            counted(operator, lambda said: (said["open"], said["messages_sent"]) == (1, 3))
            server.log.expect("worker died")
            os.kill(next(iter(server.workers())), SIGKILL)
            counts = counted(operator, lambda said: said["open"] == 0)
        assert counts["closed"] == {"1006": 1, "1012": 2}
        assert (counts["opened"], counts["messages_sent"]) == (3, 3)


# Drains


def test_what_drains_shows_how_many_websockets_are_left(tmp_path: Path) -> None:
    with (
        served(tmp_path, "talk", *ONE, *NO_PROBATION) as (server, operator),
        server.connect() as http,
        talk(server) as one,
        talk(server) as other,
    ):
        http.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        http.head()
        echoed(one)
        echoed(other)
        operator.ctl("reload", "--wait")

        def leaving() -> list[dict[str, Any]]:
            return [worker for worker in operator.status()["workers"] if worker["leaving"]]

        wait_until(lambda: [each["open_at_drain"] for each in leaving()] == [3], "all are open")
        (old,) = leaving()
        assert old["websockets_at_drain"] == 2
        assert 0 < old["left_s"] <= 31
        one.close()
        wait_until(lambda: [each["websockets"]["open"] for each in leaving()] == [1], "one less")
        screen = operator.ctl("status")
        row = rf"^ +0 +{old['pid']} +1  ● draining .* 1 of 1 +1 of 2 "
        assert re.search(row, screen, re.MULTILINE), screen
        echoed(other)
        other.close()
        wait_until(lambda: [each["websockets"]["open"] for each in leaving()] == [0], "none left")
        http.close()
        wait_until(lambda: not leaving(), "its end")


# Recycling


def test_messages_count_as_requests_for_the_replacement_of_a_worker(tmp_path: Path) -> None:
    options = ("--max-requests", "20", "--websocket-drain", "close", "--shutdown-timeout", "5")
    with served(tmp_path, "talk", *ONE, *options) as (server, operator), talk(server) as one:
        (old,) = server.workers()
        echoed(one, times=23)  # a tenth more: not all workers go together
        server.log.wait_for("worker is to be replaced .*cause=requests")
        with pytest.raises(Exception, match="1012"):
            one.recv(timeout=PATIENCE)
        wait_until(lambda: server.workers() and old not in server.workers(), "another worker")
        assert websockets(operator)["messages_received"] == 23


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b""),
        (b"Upgrade: websocket\r\n", b""),
        (b" HTTP/1.1", b" HTTP/1.0"),
    ],
    ids=["no field", "Connection alone", "HTTP/1.0"],
)
def test_a_proxy_that_takes_off_what_asks_for_a_websocket_is_told_of_once(
    sent: bytes, passed_on: bytes
) -> None:
    asks = ASKS.replace(sent, passed_on)
    with started("probe") as server:
        for _ in range(2):
            with server.connect() as raw:
                raw.send(asks)
                assert raw.answer().status == 200
        server.log.expect("the key of a WebSocket came in a request that asks for none")
        server.stop()
        assert len(server.log.find("the key of a WebSocket")) == 1
