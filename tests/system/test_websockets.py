"""The life cycle of a WebSocket on the wire, and what its application hears of it."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from xprocess import XProcess

from tests.support.frames import BINARY, CONT, FIN, PING, PONG, TEXT, binary, close, frame, text
from tests.support.notes import Notes
from tests.support.raw import CLOSED
from tests.support.server import Server, shared
from tests.support.websocket import DEFLATE, WebSocket, asking, opened

CORES = [("uvloop", "httptools"), ("asyncio", "h11")]


@pytest.fixture(scope="module", params=CORES, ids="-".join)
def running(request: pytest.FixtureRequest, xprocess: XProcess) -> Iterator[Server]:
    loop, http = request.param
    with shared(xprocess, "sockets", "--loop", loop, "--http", http) as one:
        yield one


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.log.check()


def reset(raw: WebSocket) -> None:
    """Ends a connection so that the other side sees RST."""
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def test_messages_go_both_ways_in_every_size_of_frame(server: Server) -> None:
    with opened(server, "/echo") as raw:
        for size in (0, 1, 125, 126, 65535, 65536, 1_000_000):
            raw.send(text("a" * size))
            assert raw.frame() == (FIN | TEXT, b"a" * size)
            raw.send(binary(b"\xff" * size))
            assert raw.frame() == (FIN | BINARY, b"\xff" * size)


def test_fragments_make_one_message_with_control_frames_in_between(server: Server) -> None:
    with opened(server, "/echo") as raw:
        letter = "ä".encode()
        raw.send(frame(TEXT, b"a" + letter[:1]) + frame(FIN | PING, b"in between"))
        assert raw.frame() == (FIN | PONG, b"in between")
        raw.send(frame(CONT, letter[1:]) + frame(CONT) + frame(FIN | CONT, b"z"))
        assert raw.frame() == (FIN | TEXT, b"a" + letter + b"z")


def test_a_frame_that_comes_byte_by_byte_is_a_frame(server: Server) -> None:
    with opened(server, "/echo") as raw:
        for byte in text("drop by drop"):
            raw.send(bytes((byte,)))
        assert raw.frame() == (FIN | TEXT, b"drop by drop")


def test_what_is_sent_with_the_request_is_heard_once_the_application_has_accepted(
    server: Server, notes: Notes
) -> None:
    with WebSocket(server.addresses[0]) as raw:
        raw.send(asking(f"/at-the-gate?{notes.query}") + text("early") + frame(FIN | PING, b"p"))
        notes.wait_for("begun")
        raw.send(text("less early"))
        notes.open_gate()
        assert raw.answer().status == 101
        assert {raw.frame() for _ in range(3)} == {
            (FIN | TEXT, b"early"),
            (FIN | PONG, b"p"),
            (FIN | TEXT, b"less early"),
        }
        raw.send(close(1000))
        assert raw.closed() == (1000, "")
        assert raw.end() == CLOSED


def test_frames_behind_a_request_that_is_denied_are_no_requests(server: Server) -> None:
    with WebSocket(server.addresses[0]) as raw:
        raw.send(asking("/reject") + text("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
        assert raw.answer().status == 403
        assert b"200" not in raw.rest()


def test_the_scope_says_what_was_asked_for_and_the_answer_what_was_accepted(
    server: Server,
) -> None:
    with opened(server, "/scope?a=b%20c", "Sec-WebSocket-Protocol: one, two") as raw:
        assert json.loads(raw.frame()[1]) == {
            "type": "websocket",
            "scheme": "ws",
            "path": "/scope",
            "query_string": "a=b%20c",
            "root_path": "",
            "http_version": "1.1",
            "subprotocols": ["one", "two"],
            "denial": True,
        }
        assert raw.opening.get("sec-websocket-protocol") == "two"
        assert raw.opening.get("x-own") == "1"
        cookies = [value for name, value in raw.opening.headers if name == "set-cookie"]
        assert cookies == ["a=b", "c=d"]


# Before it is accepted


def test_a_close_before_accept_is_403(server: Server, notes: Notes) -> None:
    with WebSocket(server.addresses[0]) as raw:
        raw.send(asking(f"/reject?{notes.query}"))
        assert raw.answer().status == 403
    notes.wait_for("disconnect 1006")


def test_a_denial_is_the_applications_own_answer_and_streamed(server: Server, notes: Notes) -> None:
    with WebSocket(server.addresses[0]) as raw:
        raw.send(asking(f"/deny?{notes.query}"))
        head = raw.head()
        assert head.status == 401
        assert head.get("www-authenticate") == "Basic"
        chunks = raw.chunks()
        assert next(chunks) == b"first "
        notes.open_gate()
        assert b"".join(chunks) == b"last"
    notes.wait_for("disconnect 1006")


def test_an_application_that_raises_before_accept_is_500(server: Server) -> None:
    with WebSocket(server.addresses[0]) as raw:
        server.log.expect("application raised websocket path=/raises")
        raw.send(asking("/raises?when=before"))
        assert raw.answer().status == 500


def test_an_application_that_returns_before_accept_is_500(server: Server) -> None:
    with WebSocket(server.addresses[0]) as raw:
        server.log.expect("application returned, expected websocket.accept, .* path=/returns")
        raw.send(asking("/returns?when=before"))
        assert raw.answer().status == 500


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_client_that_leaves_before_accept_is_1006_and_accept_raises(
    server: Server, notes: Notes, how: str
) -> None:
    with WebSocket(server.addresses[0]) as raw:
        raw.send(asking(f"/hold?{notes.query}"))
        notes.wait_for("begun")
        if how == "reset":
            reset(raw)
    notes.wait_for("disconnect 1006")
    notes.wait_for("OSError=True")


# How it ends


@pytest.mark.parametrize(
    ("sent", "told", "answer"),
    [
        (close(1000), "disconnect 1000", (1000, "")),
        (close(1001, b"going away"), "disconnect 1001 going away", (1001, "going away")),
        (close(4321, "größer".encode()), "disconnect 4321 größer", (4321, "größer")),
        (close(3000, b"r" * 123), "disconnect 3000 " + "r" * 123, (3000, "r" * 123)),
        (close(), "disconnect 1005", (1005, "")),
    ],
)
def test_the_clients_own_code_and_reason_are_told_and_its_close_is_answered(
    server: Server, notes: Notes, sent: bytes, told: str, answer: tuple[int, str]
) -> None:
    with opened(server, f"/echo?{notes.query}") as raw:
        raw.send(sent)
        assert raw.closed() == answer
        assert raw.end() == CLOSED
    notes.wait_for(told)


@pytest.mark.parametrize("how", ["fin", "half", "reset"])
@pytest.mark.parametrize("sent", [b"", text("whole"), text("half a frame")[:5]])
def test_a_client_that_goes_without_a_close_is_1006(
    server: Server, notes: Notes, how: str, sent: bytes
) -> None:
    with opened(server, f"/echo?{notes.query}") as raw:
        raw.send(sent)
        if sent == text("whole"):
            raw.frame()
        if how == "half":
            raw.socket.shutdown(socket.SHUT_WR)
            raw.rest()
        elif how == "reset":
            reset(raw)
    notes.wait_for("disconnect 1006")


def test_what_was_sent_before_a_close_is_still_received(server: Server, notes: Notes) -> None:
    with opened(server, f"/slow?{notes.query}") as raw:
        raw.send(text("12345") + binary(b"67") + close(4000, b"done"))
        assert raw.closed() == (4000, "done")
        notes.open_gate()
    notes.wait_for("disconnect 4000 done")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", (1000, "")),
        ("&code=4999&reason=own", (4999, "own")),
        ("&code=1013", (1013, "")),
    ],
)
def test_the_applications_close_says_its_code_and_reason_and_waits_for_the_clients(
    server: Server, notes: Notes, query: str, told: tuple[int, str]
) -> None:
    with opened(server, f"/leave?{notes.query}{query}") as raw:
        raw.send(text("leave"))
        assert raw.closed() == told
        raw.send(text("this crossed it") + frame(FIN | PING) + close(told[0]))
        assert raw.end() == CLOSED
    notes.wait_for(f"disconnect {told[0]} {told[1]}".rstrip())


def test_a_reason_that_is_too_long_is_cut_between_two_letters(server: Server, notes: Notes) -> None:
    reason = quote("ä" * 100)
    with opened(server, f"/leave?{notes.query}&reason={reason}") as raw:
        raw.send(text("leave"))
        assert raw.closed() == (1000, "ä" * 61)
    notes.wait_for("disconnect 1000 " + "ä" * 61)


def test_an_application_that_returns_closes_with_1000(server: Server) -> None:
    with opened(server, "/returns?when=after") as raw:
        assert raw.frame() == (FIN | TEXT, b"that is all")
        assert raw.closed() == (1000, "")
        raw.send(close(1000))
        assert raw.end() == CLOSED


@pytest.mark.parametrize("when", ["after", "later"])
def test_an_application_that_raises_after_accept_closes_with_1011(
    server: Server, when: str
) -> None:
    server.log.expect("application raised websocket path=/raises")
    with opened(server, f"/raises?when={when}") as raw:
        if when == "later":
            raw.send(text("now"))
        assert raw.closed() == (1011, "")
        raw.send(close(1011))
        assert raw.end() == CLOSED


@pytest.mark.parametrize("how", ["close", "fin", "reset"])
def test_send_after_the_client_has_left_raises_what_is_not_logged(
    server: Server, notes: Notes, how: str
) -> None:
    with opened(server, f"/late?{notes.query}") as raw:
        if how == "close":
            raw.send(close(1000))
            assert raw.closed() == (1000, "")
        elif how == "reset":
            reset(raw)
    notes.wait_for("OSError=True")
    with opened(server, "/echo") as other:  # whatever it would have logged is there by now
        other.send(text("x"))
        assert other.frame() == (FIN | TEXT, b"x")


NOT_ACCEPTED = {
    "send-before-accept": "'websocket.send' was sent, expected websocket.accept, websocket.close",
    "http": "'http.response.start' was sent, expected websocket.accept",
    "body-without-start": "'websocket.http.response.body' was sent, expected websocket.accept",
    "accept-after-denial": "'websocket.accept' was sent, expected websocket.http.response.body",
    "subprotocol": "subprotocol 'not-offered' was accepted; the client offered one",
    "header": "header b'sec-websocket-extensions' of an accepted WebSocket is the server's",
    "split-header": "x-a",
}
ACCEPTED_BEFORE = {
    "second-accept": "'websocket.accept' was sent, expected websocket.send or websocket.close",
    "denial-after-accept": "'websocket.http.response.start' was sent, expected websocket.send",
    "empty-send": "websocket.send has neither bytes nor text",
    "code": "1006",
}
CLOSED_BEFORE = ["send-after-close", "second-close"]


@pytest.mark.parametrize("case", NOT_ACCEPTED)
def test_what_may_not_come_before_accept_says_what_was_expected(server: Server, case: str) -> None:
    server.log.expect("application raised websocket path=/wrong")
    with WebSocket(server.addresses[0]) as raw:
        raw.send(asking(f"/wrong?case={case}", "Sec-WebSocket-Protocol: one"))
        assert raw.answer().status == 500
    assert NOT_ACCEPTED[case] in server.log.find("path=/wrong")[-1].trace


@pytest.mark.parametrize("case", ACCEPTED_BEFORE)
def test_what_may_not_come_after_accept_says_what_was_expected(server: Server, case: str) -> None:
    server.log.expect("application raised websocket path=/wrong")
    with opened(server, f"/wrong?case={case}") as raw:
        assert raw.closed() == (1011, "")
    assert ACCEPTED_BEFORE[case] in server.log.find("path=/wrong")[-1].trace


@pytest.mark.parametrize("case", CLOSED_BEFORE)
def test_what_comes_behind_the_applications_own_close_is_its_error_and_not_sent(
    server: Server, case: str
) -> None:
    server.log.expect("application raised websocket path=/wrong")
    with opened(server, f"/wrong?case={case}") as raw:
        assert raw.closed() == (1000, "")
        raw.send(close(1000))
        assert raw.end() == CLOSED
    server.log.wait_for("expected nothing, the application has closed the WebSocket")


def test_compression_is_agreed_on_and_used(server: Server) -> None:
    with opened(server, "/echo", DEFLATE) as raw:
        agreed = raw.opening.get("sec-websocket-extensions")
        assert agreed is not None
        assert agreed.startswith("permessage-deflate")
        raw.send(text("a" * 10_000))
        first, payload = raw.frame()
        assert first == FIN | 0x40 | TEXT
        assert len(payload) < 100
