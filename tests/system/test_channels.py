"""Django Channels over real sockets: consumers, groups, and how each hears of the end."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from xprocess import XProcess

from tests.support.notes import Notes
from tests.support.server import Server, shared
from tests.support.serverlog import PATIENCE


class Site:
    """The application, running in one worker: the layer in memory reaches no further."""

    def __init__(self, server: Server, notes: Notes) -> None:
        self.server = server
        self.notes = notes

    def enter(self, path: str, **options: Any) -> ClientConnection:
        url = self.server.url(path).replace("http:", "ws:")
        socket: ClientConnection = connect(url, open_timeout=PATIENCE, proxy=None, **options)
        return socket


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def running(
    request: pytest.FixtureRequest, xprocess: XProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    notes = Notes(tmp_path_factory.mktemp("channels"))
    options = ["--workers", "1", "--loop", request.param]
    with shared(xprocess, "channels_app", *options, env={"NOTES": str(notes.path)}) as server:
        yield Site(server, notes)


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    running.notes.path.unlink(missing_ok=True)
    yield running
    running.server.log.check()


def hear(socket: ClientConnection) -> Any:
    return socket.recv(timeout=PATIENCE)


def test_what_one_says_all_in_the_room_hear(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        blue = [stack.enter_context(site.enter("/room/blue")) for _ in range(10)]
        red = stack.enter_context(site.enter("/room/red"))
        for number, socket in enumerate(blue):
            socket.send(f"from {number}")
            assert [hear(each) for each in blue] == [f"from {number}"] * len(blue)
        red.send("alone")
        assert hear(red) == "alone"
        blue[0].send(b"\0\xff")
        assert hear(blue[0]) == b"\0\xff"
    site.notes.wait_for("room 1000", times=11)


def test_who_is_lost_has_left_the_room(site: Site) -> None:
    with site.enter("/room/blue") as one:
        two = site.enter("/room/blue")
        two.socket.shutdown(2)
        site.notes.wait_for("room 1006")
        one.send("still here")
        assert hear(one) == "still here"


def test_json_comes_and_goes_and_the_consumer_closes_with_a_reason(site: Site) -> None:
    with site.enter("/double", subprotocols=["json"]) as socket:
        assert socket.subprotocol == "json"
        for number in range(100):
            socket.send(json.dumps(number))
            assert json.loads(hear(socket)) == 2 * number
        socket.send("null")
        with pytest.raises(ConnectionClosedError) as caught:
            hear(socket)
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4000, "nothing to double")
    site.notes.wait_for("double 4000")


def test_a_consumer_in_a_thread_works(site: Site) -> None:
    with site.enter("/thread") as socket:
        for number in range(20):
            socket.send(json.dumps(number))
            assert json.loads(hear(socket)) == {"got": number}
        socket.close(4003, "done")
    site.notes.wait_for("thread 4003")


def test_a_consumer_that_denies_is_403_and_hears_the_end(site: Site) -> None:
    with pytest.raises(InvalidStatus) as caught, site.enter("/denied"):
        pass
    assert caught.value.response.status_code == 403
    site.notes.wait_for("denied 1006")


def test_a_consumer_that_raises_is_1011_in_the_log_and_for_the_client(site: Site) -> None:
    site.server.log.expect("application raised websocket path=/broken")
    with site.enter("/broken") as socket:
        socket.send("x")
        with pytest.raises(ConnectionClosedError) as caught:
            hear(socket)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1011


def test_the_same_server_answers_http(site: Site) -> None:
    with site.server.client() as client:
        assert client.get("/").text == "hello"
