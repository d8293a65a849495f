"""What is asked for a WebSocket in the wrong way, or by the wrong party, or too often."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import pytest
from xprocess import XProcess

from tests.support.frames import FIN, TEXT, text
from tests.support.notes import Notes
from tests.support.raw import CLOSED, request
from tests.support.server import Server, shared, started
from tests.support.serverlog import wait_until
from tests.support.websocket import ASKS, KEY, VERSION, WebSocket, asking, opened

CORES: Final = [("uvloop", "httptools"), ("asyncio", "h11")]
UPGRADE, CONNECTION, THE_KEY, _ = ASKS
ECHOED: Final = (FIN | TEXT, b"x")


@pytest.fixture(scope="module", params=CORES, ids="-".join)
def server(request: pytest.FixtureRequest, xprocess: XProcess) -> Iterator[Server]:
    loop, http = request.param
    with shared(xprocess, "sockets", "--loop", loop, "--http", http) as one:
        one.log.allow("the key of a WebSocket came in a request that asks for none")
        yield one


def asks(*fields: str, version: str = "1.1", method: str = "GET") -> bytes:
    lines = [f"{method} /echo HTTP/{version}", "Host: test", *fields, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    "asked",
    [
        asks(UPGRADE, CONNECTION, VERSION),
        asks(UPGRADE, CONNECTION, VERSION, THE_KEY, THE_KEY),
        asks(UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: "),
        asks(UPGRADE, CONNECTION, VERSION, "Sec-WebSocket-Key: AAAA"),
        asks(UPGRADE, CONNECTION, VERSION, f"Sec-WebSocket-Key: {KEY[:-3]}*=="),
        asks(UPGRADE, CONNECTION, VERSION, f"Sec-WebSocket-Key: {KEY}, {KEY}"),
        asks(UPGRADE, CONNECTION, THE_KEY),
        asks(UPGRADE, CONNECTION, THE_KEY, VERSION, VERSION),
        asks(UPGRADE, "Connection: keep-alive", THE_KEY, VERSION),
        asks(UPGRADE, THE_KEY, VERSION),
        asks(*ASKS, "Sec-WebSocket-Protocol: a b"),
        asks(*ASKS, "Sec-WebSocket-Protocol: a, a"),
        asks(*ASKS, "Sec-WebSocket-Extensions: permessage-deflate; ="),
        asks(*ASKS, "Origin: http://a", "Origin: http://b"),
    ],
)
def test_a_handshake_that_is_not_in_order_is_400(server: Server, asked: bytes) -> None:
    with server.connect() as raw:
        raw.send(asked)
        assert raw.answer().status == 400


@pytest.mark.parametrize("version", ["12", "8", "14", "013", "13, 8", "x"])
def test_another_version_is_426_and_told_which_is_spoken(server: Server, version: str) -> None:
    with server.connect() as raw:
        raw.send(asks(UPGRADE, CONNECTION, THE_KEY, f"Sec-WebSocket-Version: {version}"))
        answer = raw.answer()
        assert answer.status == 426
        assert answer.get("sec-websocket-version") == "13"
        assert answer.get("upgrade") == "websocket"


@pytest.mark.parametrize(
    "asked",
    [
        asks(*ASKS, method="POST"),
        asks(*ASKS, "Content-Length: 4", method="POST") + b"body",
        asks(*ASKS, "Content-Length: 4") + b"body",
        asks(*ASKS, "Transfer-Encoding: chunked") + b"4\r\nbody\r\n0\r\n\r\n",
        asks(*ASKS, version="1.0"),
        asks("Upgrade: h2c", CONNECTION),
        asks("Upgrade: websockets", CONNECTION, THE_KEY, VERSION),
    ],
    ids=["post", "post-body", "body", "chunked", "1.0", "h2c", "another"],
)
def test_what_asks_for_no_websocket_is_a_request_like_any_other(
    server: Server, asked: bytes
) -> None:
    with server.connect() as raw:
        raw.send(asked)
        answer = raw.answer()
        assert (answer.status, answer.body) == (200, b"hello")
        if b"HTTP/1.0" not in asked:
            assert raw.get("/").body == b"hello"


@pytest.mark.parametrize(
    "asked",
    [
        asks("upgrade: WebSocket", "connection: keep-alive, UPGRADE", THE_KEY, VERSION),
        asks("Upgrade: h2c, websocket", "Connection: upgrade, x", THE_KEY, VERSION),
        asks("Upgrade: h2c", UPGRADE, "Connection: x", CONNECTION, THE_KEY, VERSION),
        asks(*ASKS, "Sec-WebSocket-Extensions: x; a=1, permessage-deflate; client_max_window_bits"),
        asks(*ASKS, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8"),
        asks(*ASKS, "Origin: https://evil.test"),
    ],
)
def test_a_handshake_in_an_uncommon_form_is_taken(server: Server, asked: bytes) -> None:
    with WebSocket(server.addresses[0]) as raw:
        raw.send(asked)
        assert raw.answer().status == 101
        raw.send(text("x"))
        assert raw.frame() == ECHOED


def test_a_websocket_may_follow_requests_on_one_connection(server: Server) -> None:
    with WebSocket(server.addresses[0]) as raw:
        raw.send(request("GET", "/") * 2 + asking("/echo") + text("x"))
        assert [raw.answer().status for _ in range(3)] == [200, 200, 101]
        assert raw.frame() == ECHOED


def test_only_the_origins_of_the_list_may_open_one() -> None:
    origins = ["--websocket-origins", "https://Ours.test", "--websocket-origins", "null"]
    with started("sockets", *origins) as server:
        for fields in ([], ["Origin: https://ours.test"], ["Origin: null"]):
            opened(server, "/echo", *fields).close()
        for origin in ("https://evil.test", "http://ours.test", "https://ours.test:8443", ""):
            with server.connect() as raw:
                raw.send(asking("/echo", f"Origin: {origin}"))
                assert raw.answer().status == 403
        with server.connect() as raw:
            raw.send(request("GET", "/", "Origin: https://evil.test"))
            assert raw.answer().status == 200


def test_a_handshake_that_the_application_does_not_answer_is_503(notes: Notes) -> None:
    with started("sockets", "--websocket-handshake-timeout", "0.3") as server:
        with server.connect() as raw:
            raw.send(asking(f"/hold?{notes.query}"))
            assert raw.answer().status == 503
        server.log.expect("application neither accepted nor denied .* path=/hold")
        notes.wait_for("disconnect 1006")
        notes.wait_for("OSError=True")


def test_where_they_are_off_a_request_for_one_is_a_request() -> None:
    with started("sockets", "--websockets", "off") as server, server.connect() as raw:
        raw.send(asking("/echo"))
        assert raw.answer().body == b"hello"


def test_they_count_among_the_connections_until_they_are_closed() -> None:
    with (
        started("sockets", "--max-connections", "2") as server,
        opened(server, "/echo") as one,
        opened(server, "/echo") as two,
    ):
        with server.connect() as excess:
            excess.send(asking("/echo"))
            assert excess.answer().status == 503
            assert excess.end() == CLOSED
        for raw in (one, two):
            raw.send(text("x"))
            assert raw.frame() == ECHOED
        two.close()

        def taken() -> bool:
            with contextlib.suppress(AssertionError, OSError):
                opened(server, "/echo").close()
                return True
            return False

        wait_until(taken, "a place for another")
